"""Training of a classifier over cells and its answer: the centre of the most probable cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.baselines.cells import OUTSIDE, CellPartition, hierarchy_of
from training.features.store import FeatureCache
from training.phases.execution import Execution
from training.phases.loop import run_loop

_ROWS = 4096
_UNIT_ROWS = 16_384


class FrameRows(Protocol):
    """Features (N, D) of frames, an array or what reads them from a cache when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, chosen: Any, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class CellClassifier:
    """A trained head and its partitions of the Earth, coarse to fine; the finest answers.

    ``head(features (N, D), scenes (N,) or None)`` returns the scores (N, K) of each partition.
    """

    head: nn.Module
    partitions: tuple[CellPartition, ...]

    def locate(self, features: FrameRows, scenes: np.ndarray | None = None) -> np.ndarray:
        """Return the positions (N, 2) in degrees of the most probable cells of features (N, D)."""
        best = [block.argmax(axis=1) for block in self._blocks(features, scenes)]
        return self.partitions[-1].centres_latlon_deg[np.concatenate([np.zeros(0, np.int64), *best])]

    def probabilities(self, features: FrameRows, scenes: np.ndarray | None = None) -> np.ndarray:
        """Return the probabilities (N, K) float32 of the finest cells, each row adding up to 1.

        A cell's probability is multiplied by that of the coarser cells around it, as in ISNs and GeoDecoder.
        """
        nothing = np.zeros((0, len(self.partitions[-1])), np.float32)
        return np.concatenate([nothing, *self._blocks(features, scenes)])

    @torch.no_grad()
    def _blocks(self, features: FrameRows, scenes: np.ndarray | None) -> Iterator[np.ndarray]:
        """Yield probabilities of so many frames at a time that they fit in memory beside thousands of cells."""
        self.head.eval()
        device = next(self.head.parameters()).device
        around = [torch.from_numpy(classes).to(device) for classes in hierarchy_of(self.partitions)]
        for begin in range(0, len(features), _ROWS):
            rows = torch.from_numpy(np.asarray(features[begin : begin + _ROWS], dtype=np.float32)).to(device)
            of_rows = None if scenes is None else torch.from_numpy(scenes[begin : begin + _ROWS]).to(device)
            yield _joint_probabilities(self.head(rows, of_rows), around).cpu().numpy()


def train_classifier(
    head: nn.Module,
    partitions: Sequence[CellPartition],
    features: FrameRows,
    latlon_deg: np.ndarray,
    scenes: np.ndarray | None = None,
    *,
    folder: Path,
    steps: int,
    batch_frames: int = 512,
    learning_rate: float = 1e-3,
    seed: int = 0,
    execution: Execution | None = None,
) -> CellClassifier:
    """Train a head in place on features (N, D) of frames at (N, 2) degrees, and return the classifier.

    The loss is the mean cross-entropy over the partitions, plus that of the scenes (N,) int64 if they are given. Every
    step draws its batch and its random numbers from the seed and its own number, so a run that was killed goes on from
    ``folder`` as if nothing had happened. Frames outside a partition, whose cell had too few positions, do not count
    there. ``features`` may be read when asked for.
    """
    device = next(head.parameters()).device
    classes = np.stack([partition.classes_of(latlon_deg) for partition in partitions])
    usable = np.flatnonzero((classes != OUTSIDE).any(axis=0))
    if len(usable) == 0:
        raise ValueError("no frame lies in a cell of any partition")

    def step(number: int) -> dict[str, Tensor]:
        rows = np.sort(np.random.default_rng((seed, number)).choice(usable, min(batch_frames, len(usable)), False))
        batch = torch.from_numpy(np.asarray(features[rows], dtype=np.float32)).to(device)
        targets = torch.from_numpy(classes[:, rows]).to(device)
        of_rows = None if scenes is None else torch.from_numpy(scenes[rows]).to(device)
        loss = cell_loss(head(batch, of_rows), targets)
        if of_rows is not None and hasattr(head, "scene_loss"):
            loss = loss + head.scene_loss(batch, of_rows)
        return {"loss": loss}

    head.train()
    optimizer = torch.optim.Adam(head.parameters(), lr=learning_rate)
    run_loop("classifier", folder, head, optimizer, step, steps, lambda _: 1.0, seed=seed, execution=execution)
    head.eval()
    return CellClassifier(head, tuple(partitions))


def cell_loss(scores: Sequence[Tensor], classes: Tensor) -> Tensor:
    """Return the mean over partitions of the cross-entropy of scores (N, K) and classes (levels, N); a scalar.

    Frames outside a partition are left out of its term, and a partition without any frame is left out.
    """
    terms = [
        functional.cross_entropy(of_level, target, ignore_index=OUTSIDE)
        for of_level, target in zip(scores, classes, strict=True)
        if bool((target != OUTSIDE).any())
    ]
    return torch.stack(terms).mean()


def _joint_probabilities(scores: Sequence[Tensor], around: Sequence[Tensor]) -> Tensor:
    """Return (N, K) probabilities of the finest cells from the scores of all levels and the cells around each."""
    total = torch.zeros_like(scores[-1])
    for of_level, classes in zip(scores, around, strict=True):
        logarithms = functional.log_softmax(of_level, dim=1)[:, classes.clamp(min=0)]
        # A fine cell whose coarse cell was dropped is judged by the other levels alone.
        total = total + torch.where(classes == OUTSIDE, torch.zeros_like(logarithms), logarithms)
    return functional.softmax(total, dim=1)


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


def frame_rows(features: np.ndarray, branch: slice) -> np.ndarray:
    """Return one row (N, d) float16 a frame of features (B, T, D): the columns of a branch, each about 1 in size.

    Unit vectors of hundreds of columns, as the cache holds them, would make a head with ordinary weights slow to start.
    """
    flat = features.reshape(-1, features.shape[-1])
    return np.concatenate([
        unit_sized(flat[begin : begin + _UNIT_ROWS, branch]) for begin in range(0, len(flat), _UNIT_ROWS)
    ])  # fmt: skip
