"""Clips for training drawn from a cache: some frames of each sequence, others every time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.clips import ClipBatch
from training.data.sampling import centre_frames, draw_frames
from training.feature_cache.store import FeatureCache


@dataclass(frozen=True, slots=True, eq=False)
class DrawnClips:
    """The sequences ``clips`` (M,) of a cache, ``frames`` of each drawn anew whenever it is asked for."""

    cache: FeatureCache
    clips: np.ndarray
    frames: int

    def __len__(self) -> int:
        return len(self.clips)

    def batch(self, chosen: np.ndarray, rng: np.random.Generator, own: slice) -> ClipBatch:
        listing = self.cache.listing
        rows = np.stack([self._draw_rows(int(clip), rng) for clip in self.clips[chosen]])  # (B, T)
        mine = rows[own]
        features = self.cache.rows(mine.ravel()).reshape(*mine.shape, self.cache.identity.feature_dim)
        return ClipBatch(features, listing.latlon_deg[rows])

    def _draw_rows(self, clip: int, rng: np.random.Generator) -> np.ndarray:
        first, after = self.cache.listing.offsets[clip : clip + 2]
        return first + draw_frames(int(after - first), rng, self.frames)


def middle_clips(cache: FeatureCache, clips: np.ndarray, frames: int) -> ClipBatch:
    """Return the clips (M,) of a cache with the frames of evaluation: always the same, from the middle of each cell."""
    offsets = cache.listing.offsets
    rows = np.stack([offsets[clip] + centre_frames(int(offsets[clip + 1] - offsets[clip]), frames) for clip in clips])
    features = cache.rows(rows.ravel()).reshape(*rows.shape, cache.identity.feature_dim)
    return ClipBatch(features, cache.listing.latlon_deg[rows])
