"""Clips for training, wherever they come from: cached flights, cached video, several data sets at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from training.config import PhaseConfig


@dataclass(frozen=True, slots=True)
class ClipBatch:
    """``features`` (b, T, D) float16 of this rank's clips, ``latlon_deg`` (B, T, 2) float64 of all clips of a batch."""

    features: np.ndarray
    latlon_deg: np.ndarray


class ClipSource(Protocol):
    """Clips counted from 0, each giving T frames whenever it is asked; ``rng`` decides which of them."""

    def __len__(self) -> int: ...

    def batch(self, chosen: np.ndarray, rng: np.random.Generator, own: slice) -> ClipBatch:
        """Return the clips ``chosen`` (B,), the features only of those in ``own``; draws alike whatever ``own`` is."""
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

    def batch(self, chosen: np.ndarray, rng: np.random.Generator, own: slice) -> ClipBatch:
        """``chosen`` must rise, so that the clips of a source stand together."""
        begins = np.concatenate([[0], np.cumsum([len(source) for source in self.sources])])
        edges = np.searchsorted(chosen, begins)
        first, last, _ = own.indices(len(chosen))
        parts = []
        for index, source in enumerate(self.sources):
            low, high = int(edges[index]), int(edges[index + 1])
            if low < high:
                inside = slice(min(max(first - low, 0), high - low), min(max(last - low, 0), high - low))
                parts.append(source.batch(chosen[low:high] - begins[index], rng, inside))
        return ClipBatch(_stack([part.features for part in parts]), _stack([part.latlon_deg for part in parts]))


def _stack(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
