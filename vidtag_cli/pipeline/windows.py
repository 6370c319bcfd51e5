"""Overlapping windows over a stream of frames (docs/method.md 3.3): any length, bounded memory, no seam where windows
meet.

The facts of a frame travel with its features, through shots and windows to the batches that are searched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

import numpy as np

from vidtag_cli.video.batches import FrameFacts

Outputs = dict[str, np.ndarray]
"""Name -> array whose first axis is the frames; that of several windows has the windows before it."""

WINDOWS_AT_ONCE = 8
"""Of 16 frames, 128 queries in one pass through the gallery."""

PACED_FRAMES = 32
"""Frames that tell the pace: enough for a median among uneven ones, and no more than a batch."""

SPARSE = 1.5
"""From this many steps apart on, frames lie farther apart than the model's own: below, they round to one step."""


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no single answer to ==
class EncodedFrames:
    """Consecutive frames: their facts (n), and ``features`` (n, D) float32 that a model's first graph made of them."""

    facts: tuple[FrameFacts, ...]
    features: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedFrames:
    """Consecutive frames: their facts (n), and the model's final ``outputs`` for them, arrays (n, ...) float32."""

    facts: tuple[FrameFacts, ...]
    outputs: Outputs

    def cut(self, begin: int, end: int) -> EmbeddedFrames:
        """Return the frames from ``begin`` to before ``end``."""
        return EmbeddedFrames(self.facts[begin:end], {name: rows[begin:end] for name, rows in self.outputs.items()})


def frames_per_step(media_time_s: Sequence[float] | np.ndarray, step_s: float) -> int:
    """Return how many of the frames at rising times (n,) come in ``step_s``, the time between frames of a model's pace.

    Frames closer to each other than that say nearly the same. A model was measured on frames a step apart, which may
    confirm each other; frames closer together must not.
    """
    return max(1, round(step_s / _interval_s(media_time_s, step_s)))


def is_sparse(media_time_s: Sequence[float] | np.ndarray, step_s: float) -> bool:
    """Return whether frames at rising times (n,) lie clearly farther apart than those of a model's pace."""
    return _interval_s(media_time_s, step_s) > SPARSE * step_s


def paced(batches: Iterable[EncodedFrames], step_s: float) -> tuple[int, Iterator[EncodedFrames]]:
    """Return the frames per step of a stream, and all of the stream: its first ``PACED_FRAMES`` are read ahead."""
    source = iter(batches)
    head: list[EncodedFrames] = []
    while sum(len(batch.facts) for batch in head) < PACED_FRAMES:
        batch = next(source, None)
        if batch is None:
            break
        head.append(batch)
    times_s = [frame.media_time_s for batch in head for frame in batch.facts]
    return frames_per_step(times_s, step_s), chain(head, source)


def _interval_s(media_time_s: Sequence[float] | np.ndarray, step_s: float) -> float:
    return float(np.median(np.diff(media_time_s))) if len(media_time_s) > 1 else step_s


def split_into_shots(batches: Iterable[EncodedFrames]) -> Iterator[Iterator[EncodedFrames]]:
    """Yield for every shot an iterator over the batches of its frames, to be used up before the next is asked for."""
    for _, pieces in groupby(_pieces(batches), key=lambda piece: piece.facts[0].shot):
        yield pieces


def _pieces(batches: Iterable[EncodedFrames]) -> Iterator[EncodedFrames]:
    """Yield the parts of batches that lie in one shot."""
    for batch in batches:
        begins = [0, *(np.flatnonzero(np.diff([frame.shot for frame in batch.facts])) + 1).tolist()]
        for begin, end in zip(begins, [*begins[1:], len(batch.facts)], strict=True):
            yield EncodedFrames(batch.facts[begin:end], batch.features[begin:end])


def blend_windows(
    batches: Iterable[EncodedFrames], frames: int, overlap_frames: int, run_windows: Callable[[np.ndarray], Outputs]
) -> Iterator[EmbeddedFrames]:
    """Yield all frames in order with their outputs, as soon as no later window can change them.

    ``batches`` are consecutive frames of one shot, ``run_windows`` maps the features (W, t, D) of windows to outputs
    (W, t, ...). All windows that a batch completes are run together, at most ``WINDOWS_AT_ONCE``: for few frames a
    search through the gallery costs as much as for many. A frame that several windows see gets their average, weighted
    by its distance from the window's ends. A clip shorter than a window is one window of its own length; the last
    window of a longer clip ends at its last frame.
    """
    stride = frames - overlap_frames
    pending = np.empty((0, 0), np.float32)  # features from the start of the next window on
    blend = _Blend()
    seen_window = False
    tail = pending  # the last ``frames`` features, for a last window that ends with the clip
    for batch in batches:
        blend.expect(batch.facts)
        pending = batch.features if pending.size == 0 else np.concatenate([pending, batch.features])
        tail = (batch.features if tail.size == 0 else np.concatenate([tail, batch.features]))[-frames:]
        while len(pending) >= frames:
            count = min(WINDOWS_AT_ONCE, (len(pending) - frames) // stride + 1)
            windows = np.stack([pending[begin : begin + frames] for begin in range(0, count * stride, stride)])
            for outputs in _by_window(run_windows(windows)):
                blend.add(outputs)
                yield blend.take(stride)
            pending = pending[count * stride :]
            seen_window = True
    if not seen_window and len(pending):
        (outputs,) = _by_window(run_windows(pending[None]))
        blend.add(outputs)
        yield blend.take(len(pending))
    elif len(pending) > overlap_frames:
        # Frames no window has seen: one more window, shifted back so that it is full.
        (outputs,) = _by_window(run_windows(tail[None]))
        blend.add(outputs, final=frames - len(pending))
        yield blend.take(len(pending))
    elif seen_window and overlap_frames:
        yield blend.take(overlap_frames)


def run_interleaved(windows: np.ndarray, clips: int, run_windows: Callable[[np.ndarray], Outputs]) -> Outputs:
    """Return the outputs (W, t, ...) of windows (W, t, D) that hold ``clips`` interleaved clips: the first clip has
    the frames 0, clips, 2 clips and so on, the second the frame after each of these. Every clip is run by itself.
    """
    if clips == 1:
        return run_windows(windows)
    woven: Outputs = {}
    for first in range(min(clips, windows.shape[1])):
        for name, values in run_windows(np.ascontiguousarray(windows[:, first::clips])).items():
            whole = woven.setdefault(name, np.empty((*windows.shape[:2], *values.shape[2:]), values.dtype))
            whole[:, first::clips] = values
    return woven


def gather_frames(parts: Iterable[EmbeddedFrames], frames: int) -> Iterator[EmbeddedFrames]:
    """Yield the same frames in the same order, ``frames`` at a time and the rest in the last part.

    A pass over a gallery of 250,000 points costs 50 ms for 8 frames and 120 ms for 64.
    """
    waiting: list[EmbeddedFrames] = []
    for part in parts:
        waiting.append(part)
        while sum(len(piece.facts) for piece in waiting) >= frames:
            joined = join_frames(waiting)
            yield joined.cut(0, frames)
            waiting = [joined.cut(frames, len(joined.facts))] if len(joined.facts) > frames else []
    if waiting:
        yield join_frames(waiting)


def join_frames(parts: Sequence[EmbeddedFrames]) -> EmbeddedFrames:
    """Return consecutive frames in one; there must be at least one part."""
    names = parts[0].outputs
    return EmbeddedFrames(
        tuple(frame for part in parts for frame in part.facts),
        {name: np.concatenate([part.outputs[name] for part in parts]) for name in names},
    )


def _by_window(outputs: Outputs) -> list[Outputs]:
    """Return the outputs (t, ...) of every window of ``outputs`` (W, t, ...)."""
    count = len(next(iter(outputs.values())))
    return [{name: values[index] for name, values in outputs.items()} for index in range(count)]


def window_weights(count: int) -> np.ndarray:
    """Return the (count,) float32 weights of a window's frames: a triangle, never zero."""
    index = np.arange(count)
    return (np.minimum(index, count - 1 - index) + 1).astype(np.float32)


class _Blend:
    """Facts and weighted sums of the frames that are not final yet; frame 0 is the first of them."""

    def __init__(self) -> None:
        self.facts: list[FrameFacts] = []
        self.sums: Outputs = {}
        self.weights = np.zeros(0, np.float32)

    def expect(self, facts: Sequence[FrameFacts]) -> None:
        """Note the next frames of the stream; windows with them follow."""
        self.facts += facts

    def add(self, outputs: Outputs, final: int = 0) -> None:
        """Add a window whose first ``final`` frames are final already; the next one is frame 0."""
        count = len(next(iter(outputs.values())))
        weights = window_weights(count)[final:]
        self._grow(len(weights), outputs)
        self.weights[: len(weights)] += weights
        for name, values in outputs.items():
            shaped = weights.reshape(-1, *(1,) * (values.ndim - 1))
            self.sums[name][: len(weights)] += values[final:] * shaped

    def take(self, count: int) -> EmbeddedFrames:
        """Return the first ``count`` frames with their averages and forget them."""
        outputs = {}
        for name, sums in self.sums.items():
            shaped = self.weights[:count].reshape(-1, *(1,) * (sums.ndim - 1))
            outputs[name] = sums[:count] / shaped
            self.sums[name] = sums[count:]
        self.weights = self.weights[count:]
        facts, self.facts = tuple(self.facts[:count]), self.facts[count:]
        return EmbeddedFrames(facts, outputs)

    def _grow(self, length: int, outputs: Outputs) -> None:
        missing = length - len(self.weights)
        if missing <= 0:
            return
        self.weights = np.concatenate([self.weights, np.zeros(missing, np.float32)])
        for name, values in outputs.items():
            rows = np.zeros((missing, *values.shape[1:]), np.float32)
            self.sums[name] = np.concatenate([self.sums[name], rows]) if name in self.sums else rows
