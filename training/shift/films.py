"""Flights filmed at the size of a small video, and what a model's session makes of them once they are changed."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from training.config import TrainingConfig
from training.flyover.camera import render_clips
from training.flyover.flights import Flights, draw_flights
from training.shift.changes import KINDS, Change, apply_change
from vidtag_cli.files import replace_file
from vidtag_cli.pipeline.gate import measure_appearance
from vidtag_cli.pipeline.session import Session

FILM_SIZE_PX = 192
"""Finer than the model's 48 pixels, so that a change of the picture is made before it is scaled, as in a real video."""

FLIGHTS_A_GROUP = 24
CHANGES_A_GROUP = 5
_RENDERED_AT_ONCE = 8
_ENCODED_AT_ONCE = 64


@dataclass(frozen=True, slots=True, eq=False)
class GateSamples:
    """What a gate sees of clips: ``features`` (B, T, D) float16, ``appearance`` (B, T, P) float32, and the index of
    each clip's kind among ``KINDS``, ``kind`` (B,) int64.
    """

    features: np.ndarray
    appearance: np.ndarray
    kind: np.ndarray

    @classmethod
    def join(cls, parts: Sequence[GateSamples]) -> GateSamples:
        """Return the clips of all parts, of which there is at least one."""
        return cls(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.appearance for part in parts]),
            np.concatenate([part.kind for part in parts]),
        )


def film_flights(textures: Tensor, flights: Flights, rng: np.random.Generator) -> np.ndarray:
    """Return films (B, T, ``FILM_SIZE_PX``, ``FILM_SIZE_PX``, 3) uint8 RGB of flights, a few at a time: the weather of
    flights rendered together has one softness.
    """
    films = []
    for begin in range(0, len(flights), _RENDERED_AT_ONCE):
        some = flights.select(np.arange(begin, min(len(flights), begin + _RENDERED_AT_ONCE)))
        films.append(render_clips(textures, some, FILM_SIZE_PX, rng).cpu().numpy())
    return np.concatenate(films)


def film_changed(
    textures: Tensor, flights: Flights, change: Change, frame_size_px: int, rng: np.random.Generator
) -> np.ndarray:
    """Return films (B, T, ``frame_size_px``, ``frame_size_px``, 3) uint8 of flights, changed and decoded again."""
    seen = dataclasses.replace(flights, footprint_km=change.footprint * flights.footprint_km)
    return apply_change(film_flights(textures, seen, rng), change, frame_size_px)


def encode_film(session: Session, frames_rgb: np.ndarray) -> np.ndarray:
    """Return the features (B, T, D) float32 of frames (B, T, S, S, 3) uint8."""
    flat = frames_rgb.reshape(-1, *frames_rgb.shape[2:])
    parts = [
        session.encode_frames(np.ascontiguousarray(flat[begin : begin + _ENCODED_AT_ONCE]))
        for begin in range(0, len(flat), _ENCODED_AT_ONCE)
    ]
    return np.concatenate(parts).reshape(*frames_rgb.shape[:2], -1)


def gate_samples(
    session: Session, config: TrainingConfig, textures: Tensor, folder: Path, groups: int, stream: int
) -> GateSamples:
    """Return clips of new flights, each changed in ways drawn for its group, at strengths drawn too.

    Every group is kept in ``folder`` under its number; a later call continues there. Its random numbers are its own, so
    the result does not depend on how often that happened.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for group in range(groups):
        path = folder / f"group{group:04d}.npz"
        if not path.is_file():
            rng = np.random.default_rng((config.seed, stream, group))
            _keep(path, _draw_group(session, config, textures, rng))
        with np.load(path) as arrays:
            parts.append(GateSamples(arrays["features"], arrays["appearance"], arrays["kind"]))
    return GateSamples.join(parts)


def _draw_group(session: Session, config: TrainingConfig, textures: Tensor, rng: np.random.Generator) -> GateSamples:
    flights = draw_flights(config.flight_recipe(), FLIGHTS_A_GROUP, rng)
    size_px = session.bundle.preprocess.frame_size_px
    film = film_flights(textures, flights, rng)
    kinds = list(KINDS.values())
    weights = np.array([kind.draws for kind in kinds])
    parts = []
    for number in rng.choice(len(kinds), CHANGES_A_GROUP, replace=False, p=weights / weights.sum()).tolist():
        kind = kinds[number]
        change = kind.make(float(rng.uniform(kind.low, kind.high)))
        is_from_here = change.footprint == 1.0  # the film that is there serves all but other cameras
        frames = (
            apply_change(film, change, size_px)
            if is_from_here
            else film_changed(textures, flights, change, size_px, rng)
        )
        appearance = measure_appearance(frames.reshape(-1, *frames.shape[2:])).reshape(*frames.shape[:2], -1)
        features = encode_film(session, frames).astype(np.float16)
        parts.append(GateSamples(features, appearance, np.full(len(film), number)))
    return GateSamples.join(parts)


def _keep(path: Path, samples: GateSamples) -> None:
    content = io.BytesIO()
    np.savez(content, features=samples.features, appearance=samples.appearance, kind=samples.kind)
    replace_file(path, content.getvalue())
