"""How closely frames follow each other, against the pace a model was made for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np

from vidtag_cli.pipeline.windows import EncodedBatch

PACED_FRAMES = 32
"""Frames that tell the pace: enough for a median among uneven ones, and no more than a batch."""

SPARSE = 1.5
"""From this many steps apart on, frames lie farther apart than the model's own: below, they round to one step."""


def frames_per_step(media_time_s: Sequence[float] | np.ndarray, step_s: float) -> int:
    """Return how many of the frames at rising times (n,) come in ``step_s``, the time between frames of a model's pace.

    Frames closer to each other say nearly the same, so they must not vouch for each other as those did that were
    measured.
    """
    return max(1, round(step_s / _interval_s(media_time_s, step_s)))


def is_sparse(media_time_s: Sequence[float] | np.ndarray, step_s: float) -> bool:
    """Return whether frames at rising times (n,) lie clearly farther apart than those of a model's pace."""
    return _interval_s(media_time_s, step_s) > SPARSE * step_s


def paced(batches: Iterable[EncodedBatch], step_s: float) -> tuple[int, Iterator[EncodedBatch]]:
    """Return the frames per step of a stream, and all of the stream: its first ``PACED_FRAMES`` are read ahead."""
    source = iter(batches)
    head: list[EncodedBatch] = []
    while sum(len(batch.media_time_s) for batch in head) < PACED_FRAMES:
        batch = next(source, None)
        if batch is None:
            break
        head.append(batch)
    times_s = [time_s for batch in head for time_s in batch.media_time_s]
    return frames_per_step(times_s, step_s), chain(head, source)


def _interval_s(media_time_s: Sequence[float] | np.ndarray, step_s: float) -> float:
    return float(np.median(np.diff(media_time_s))) if len(media_time_s) > 1 else step_s
