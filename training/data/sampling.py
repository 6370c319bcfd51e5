"""Which frames of a sequence make a clip: one of each stride cell, in order, none twice (SPEC 2.1)."""

from __future__ import annotations

import numpy as np

from training.data.sample import MIN_FRAMES


def draw_frames(count: int, rng: np.random.Generator, frames: int = MIN_FRAMES) -> np.ndarray:
    """Return indices (T,) int64 of ``frames`` out of ``count``, strictly increasing, one drawn from each of T equal
    cells. With as many frames as wanted they are all of them. Raises ValueError for fewer.
    """
    edges = _edges(count, frames)
    return rng.integers(edges[:-1], edges[1:])


def centre_frames(count: int, frames: int = MIN_FRAMES) -> np.ndarray:
    """Return indices (T,) int64 like ``draw_frames``, but the middle of each cell: for evaluation."""
    edges = _edges(count, frames)
    return (edges[:-1] + edges[1:] - 1) // 2


def _edges(count: int, frames: int) -> np.ndarray:
    """Return the borders (T + 1,) of T cells of as equal size as whole frames allow."""
    if frames < 1 or count < frames:
        raise ValueError(f"{frames} frames cannot be taken from {count} without taking one twice")
    return np.arange(frames + 1, dtype=np.int64) * count // frames
