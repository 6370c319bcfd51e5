"""Frames of feature caches as rows for a classifier, read when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.features.store import FeatureCache


@dataclass(frozen=True, slots=True, eq=False)
class CachedRows:
    """Rows (n,) of several caches, one after the other, cut to the ``columns`` of a branch; see :func:`unit_sized`."""

    parts: Sequence[tuple[FeatureCache, np.ndarray]]
    columns: slice

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self.parts)

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        """Return the features (n, d) float16 of some rows, by a slice or by numbers in rising order."""
        numbers = np.arange(len(self))[index]
        features, begin = [], 0
        for cache, rows in self.parts:
            own = numbers[(numbers >= begin) & (numbers < begin + len(rows))] - begin
            features.append(unit_sized(cache.rows(rows[own])[:, self.columns]))
            begin += len(rows)
        return np.concatenate(features)

    def latlon_deg(self) -> np.ndarray:
        """Return the true positions (N, 2) of all rows."""
        return np.concatenate([cache.listing.latlon_deg[rows] for cache, rows in self.parts])


def unit_sized(features: np.ndarray) -> np.ndarray:
    """Return features (N, d) float16 whose columns are about 1 in size.

    Unit vectors of hundreds of columns, as a cache holds them, would make a head with ordinary weights slow to start.
    """
    part = features.astype(np.float32)
    norm = np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
    return (part / norm * np.sqrt(part.shape[1])).astype(np.float16)


_ROWS = 16_384


def frame_rows(features: np.ndarray, branch: slice) -> np.ndarray:
    """Return one row (N, d) float16 a frame of features (B, T, D): the columns of a branch, each about 1 in size.

    Unit vectors of hundreds of columns, as the cache holds them, would make a head with ordinary weights slow to start.
    """
    flat = features.reshape(-1, features.shape[-1])
    return np.concatenate([
        unit_sized(flat[begin : begin + _ROWS, branch]) for begin in range(0, len(flat), _ROWS)
    ])  # fmt: skip
