"""The inputs on which engines and torch are compared: batches and pictures that break exports, and ordinary ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from export.parity_reference import ParityReference

CLIP_SHAPES = ((1, 1), (1, 2), (2, 2), (1, 16), (3, 16), (1, 31), (2, 31))
"""Clips and frames: one frame, two, the length of training, the longest distance between positions."""

_POOL_FRAMES = 31
_POINTS = 500

_EDGE_LATLON_DEG = np.array([
    [90.0, 0.0], [-90.0, 0.0], [90.0, 137.0], [0.0, 0.0], [0.0, -180.0], [0.0, 179.999_999], [-17.0, 179.999],
    [-17.0, -179.999], [66.0, 180.0 - 1e-9], [48.8584, 2.2945],
])  # fmt: skip
"""Poles, both sides of the antimeridian, the origin, the Eiffel Tower."""


@dataclass(frozen=True, slots=True)
class ParityCase:
    """Inputs of one graph under the names of the contract."""

    graph: str
    name: str
    inputs: Mapping[str, np.ndarray]


def edge_cases(
    reference: ParityReference, frame_size_px: int, seed: int = 0, frames_rgb: np.ndarray | None = None
) -> Iterator[ParityCase]:
    """Yield the cases of all four graphs.

    ``frames_rgb`` (M, S, S, 3) uint8 are pictures the model was made for; without them the temporal graphs see features
    of noise and colour fields.
    """
    rng = np.random.default_rng(seed)
    pool = synthetic_frames(frame_size_px, rng) if frames_rgb is None else frames_rgb
    yield from _frame_cases(frame_size_px, pool, rng)
    yield from _location_cases(rng)
    features = reference.run("dual_encoder", {"frames_rgb": pool})["frame_features"]
    for clips, frames in CLIP_SHAPES:
        # Every clip a different stretch of the pool: the encoder, the slow part, runs once.
        index = (np.arange(frames) + 7 * np.arange(clips)[:, None]) % len(features)
        clip_features = {"frame_features": features[index]}
        yield ParityCase("tempgeo", f"{clips} x {frames}", clip_features)
        outputs = reference.run("tempgeo", clip_features)
        best = reference.best_places(outputs["frame_embedding"].reshape(clips * frames, -1))
        embedding = reference.gallery_embedding[best].reshape(clips, frames, -1)
        refiner_inputs = {"refined_features": outputs["refined_features"], "location_embedding": embedding}
        yield ParityCase("georefiner", f"{clips} x {frames}", refiner_inputs)


def synthetic_frames(size_px: int, rng: np.random.Generator) -> np.ndarray:
    """Return frames (31, S, S, 3) uint8: noise on and off over blurred fields of colour."""
    coarse = rng.uniform(0.0, 255.0, (_POOL_FRAMES, 5, 5, 3))
    at = np.linspace(0.0, 4.0 - 1e-9, size_px)
    low, part = at.astype(int), at % 1.0
    rows = coarse[:, low] * (1.0 - part)[:, None, None] + coarse[:, low + 1] * part[:, None, None]
    smooth = rows[:, :, low] * (1.0 - part)[:, None] + rows[:, :, low + 1] * part[:, None]
    noise_level = rng.choice((0.0, 60.0), (_POOL_FRAMES, 1, 1, 1))
    return (smooth + rng.normal(0.0, 1.0, smooth.shape) * noise_level).clip(0.0, 255.0).astype(np.uint8)


def _frame_cases(size_px: int, pool: np.ndarray, rng: np.random.Generator) -> Iterator[ParityCase]:
    shape = (1, size_px, size_px, 3)
    black, white = np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)
    noise = rng.integers(0, 256, shape, dtype=np.uint8)
    batches = {
        "black": black, "white": white, "noise": noise, "one frame": pool[:1], "two frames": pool[:2],
        "several frames": np.concatenate([pool[:5], black, white, noise]),
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
