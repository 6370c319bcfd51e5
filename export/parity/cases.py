"""The inputs on which engines and torch are compared: batches and pictures that break exports, and ordinary ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from export.parity.reference import ParityReference

CLIP_SHAPES = ((1, 1), (1, 2), (2, 2), (1, 16), (3, 16), (1, 31), (2, 31))
"""Clips and frames: one frame, two, the length of training, the longest distance between positions."""

MAX_FRAMES = 31
"""The largest batch of pictures that is compared, and the pool the clips are cut from."""

_POINTS = 500

_EDGE_LATLON_DEG = np.array([
    [90.0, 0.0], [-90.0, 0.0], [90.0, 137.0], [0.0, 0.0], [0.0, -180.0], [0.0, 179.999_999], [-17.0, 179.999],
    [-17.0, -179.999], [66.0, 180.0 - 1e-9], [48.8584, 2.2945],
])  # fmt: skip
"""Poles, both sides of the antimeridian, the origin, the Eiffel Tower."""


@dataclass(frozen=True, slots=True)
class ParityCase:
    """Inputs of one graph under the names of the contract, and torch's outputs where they are known already."""

    graph: str
    name: str
    inputs: Mapping[str, np.ndarray]
    expected: Mapping[str, np.ndarray] | None = None


def edge_cases(
    reference: ParityReference,
    frame_size_px: int,
    seed: int = 0,
    frames_rgb: np.ndarray | None = None,
    max_frames: int = MAX_FRAMES,
) -> Iterator[ParityCase]:
    """Yield the cases of all four graphs with torch's outputs, graph by graph.

    ``frames_rgb`` (M, S, S, 3) uint8 are pictures the model was made for; without them the temporal graphs see features
    of noise and colour fields. ``max_frames`` is the largest batch.
    """
    rng = np.random.default_rng(seed)
    pool = picture_pool(frame_size_px, rng, frames_rgb, max_frames)
    frame_cases = [_with_outputs(reference, case) for case in _frame_cases(frame_size_px, pool, rng)]
    yield from frame_cases
    yield from (_with_outputs(reference, case) for case in _location_cases(rng))
    largest = frame_cases[-1].expected or {}
    clips = [_tempgeo_case(reference, largest["frame_features"], *shape) for shape in CLIP_SHAPES]
    yield from clips
    yield from (_georefiner_case(reference, case) for case in clips)


def picture_pool(
    frame_size_px: int, rng: np.random.Generator, frames_rgb: np.ndarray | None, max_frames: int
) -> np.ndarray:
    """Return the largest batch (max_frames or less, S, S, 3): pictures, the last three black, white and noise."""
    pictures = synthetic_frames(frame_size_px, rng, max_frames) if frames_rgb is None else frames_rgb[:max_frames]
    edges = np.concatenate(_plain_pictures(frame_size_px, rng))
    return np.concatenate([pictures[: max(1, max_frames - len(edges))], edges])


def _with_outputs(reference: ParityReference, case: ParityCase) -> ParityCase:
    return dataclasses.replace(case, expected=reference.run(case.graph, case.inputs))


def _tempgeo_case(reference: ParityReference, features: np.ndarray, clips: int, frames: int) -> ParityCase:
    # Every clip a different stretch of the pool: the encoder, the slow part, runs once.
    index = (np.arange(frames) + 7 * np.arange(clips)[:, None]) % len(features)
    case = ParityCase("tempgeo", f"{clips} x {frames}", {"frame_features": features[index]})
    return _with_outputs(reference, case)


def _georefiner_case(reference: ParityReference, clip: ParityCase) -> ParityCase:
    """Return what GeoRefiner is given after a case of TempGeo."""
    outputs = clip.expected or {}
    clips, frames, width = outputs["frame_embedding"].shape
    best = reference.best_places(outputs["frame_embedding"].reshape(-1, width))
    embedding = reference.gallery_embedding[best].reshape(clips, frames, -1)
    inputs = {"refined_features": outputs["refined_features"], "location_embedding": embedding}
    return _with_outputs(reference, ParityCase("georefiner", clip.name, inputs))


def synthetic_frames(size_px: int, rng: np.random.Generator, count: int = MAX_FRAMES) -> np.ndarray:
    """Return frames (count, S, S, 3) uint8: noise on and off over blurred fields of colour."""
    coarse = rng.uniform(0.0, 255.0, (count, 5, 5, 3))
    at = np.linspace(0.0, 4.0 - 1e-9, size_px)
    low, part = at.astype(int), at % 1.0
    rows = coarse[:, low] * (1.0 - part)[:, None, None] + coarse[:, low + 1] * part[:, None, None]
    smooth = rows[:, :, low] * (1.0 - part)[:, None] + rows[:, :, low + 1] * part[:, None]
    noise_level = rng.choice((0.0, 60.0), (count, 1, 1, 1))
    return (smooth + rng.normal(0.0, 1.0, smooth.shape) * noise_level).clip(0.0, 255.0).astype(np.uint8)


def _plain_pictures(size_px: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    shape = (1, size_px, size_px, 3)
    return np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8), rng.integers(0, 256, shape, dtype=np.uint8)


def _frame_cases(size_px: int, pool: np.ndarray, rng: np.random.Generator) -> Iterator[ParityCase]:
    """Yield the cases of the frame encoder; the last one is the whole pool."""
    black, white, noise = _plain_pictures(size_px, rng)
    batches = {
        "black": black, "white": white, "noise": noise, "one frame": pool[:1], "two frames": pool[:2],
        "largest batch": pool,
    }  # fmt: skip
    for name, frames_rgb in batches.items():
        yield ParityCase("dual_encoder", name, {"frames_rgb": frames_rgb})


def _location_cases(rng: np.random.Generator) -> Iterator[ParityCase]:
    lat_deg = np.rad2deg(np.arcsin(rng.uniform(-1.0, 1.0, _POINTS)))
    spread = np.stack([lat_deg, rng.uniform(-180.0, 180.0, _POINTS)], axis=-1)
    batches = {
        "one place": spread[:1], "two places": spread[:2], "poles and seam": _EDGE_LATLON_DEG, "whole Earth": spread,
    }  # fmt: skip
    for name, latlon_deg in batches.items():
        yield ParityCase("location_encoder", name, {"latlon_deg": latlon_deg})
