"""Clips for training, wherever they come from: frames drawn from cached sequences, several data sets at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.config import PhaseConfig
from training.data.sample import MIN_FRAMES
from training.features.store import FeatureCache


@dataclass(frozen=True, slots=True)
class ClipBatch:
    """``features`` (b, T, D) float16 of this rank's clips, ``latlon_deg`` (B, T, 2) float64 of all clips of a batch."""

    features: np.ndarray
    latlon_deg: np.ndarray


class Clips(Protocol):
    """Clips of equal length, all at hand: ``features`` (B, T, D) float16, true positions ``latlon_deg`` (B, T, 2)."""

    @property
    def features(self) -> np.ndarray: ...

    @property
    def latlon_deg(self) -> np.ndarray: ...


class ClipSource(Protocol):
    """Clips counted from 0, each giving T frames whenever it is asked; ``rng`` decides which of them."""

    def __len__(self) -> int: ...

    def batch(self, numbers: np.ndarray, rng: np.random.Generator, own: slice) -> ClipBatch:
        """Return the clips ``numbers`` (B,), the features only of those in ``own``; draws alike whatever ``own`` is."""
        ...


def choose_clips(recipe: PhaseConfig, count: int, rng: np.random.Generator, seed: int, number: int) -> np.ndarray:
    """Return the clips (B,) of a step in rising order, a function of the step's number alone.

    A phase of epochs sees every clip once in each but for a last incomplete batch; one of steps draws freely.
    """
    if not recipe.epochs:
        return np.sort(rng.choice(count, recipe.batch_clips, replace=False))
    epoch, batch = divmod(number, recipe.steps_per_epoch)
    order = np.random.default_rng((seed, 6, epoch)).permutation(count)
    return np.sort(order[batch * recipe.batch_clips : (batch + 1) * recipe.batch_clips])


@dataclass(frozen=True, slots=True)
class JoinedClips:
    """The clips of several sources, one after the other: unified training."""

    sources: tuple[ClipSource, ...]

    def __len__(self) -> int:
        return sum(len(source) for source in self.sources)

    def batch(self, numbers: np.ndarray, rng: np.random.Generator, own: slice) -> ClipBatch:
        """``numbers`` must rise, so that the clips of a source stand together."""
        begins = np.concatenate([[0], np.cumsum([len(source) for source in self.sources])])
        edges = np.searchsorted(numbers, begins)
        first, last, _ = own.indices(len(numbers))
        parts = []
        for index, source in enumerate(self.sources):
            low, high = int(edges[index]), int(edges[index + 1])
            if low < high:
                inside = slice(min(max(first - low, 0), high - low), min(max(last - low, 0), high - low))
                parts.append(source.batch(numbers[low:high] - begins[index], rng, inside))
        return ClipBatch(_stack([part.features for part in parts]), _stack([part.latlon_deg for part in parts]))


def _stack(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


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


@dataclass(frozen=True, slots=True, eq=False)
class DrawnClips:
    """The sequences ``clips`` (M,) of a cache, ``frames`` of each drawn anew whenever it is asked for."""

    cache: FeatureCache
    clips: np.ndarray
    frames: int

    def __len__(self) -> int:
        return len(self.clips)

    def batch(self, numbers: np.ndarray, rng: np.random.Generator, own: slice) -> ClipBatch:
        listing = self.cache.listing
        rows = np.stack([self._draw_rows(int(clip), rng) for clip in self.clips[numbers]])  # (B, T)
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


def branch_features(features: np.ndarray, branch: slice) -> Tensor:
    """Return features (B, T, d) float32 of one branch or all, normalised as the encoder would."""
    columns = torch.from_numpy(np.array(features[..., branch], dtype=np.float32))  # a copy: the store is read-only
    return functional.normalize(columns, dim=-1)
