"""Overlapping windows over a stream of frames (SPEC 3.3): any length, bounded memory, no seam where windows meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

Outputs = dict[str, np.ndarray]
"""Name -> array whose first axis is the frames."""

WINDOWS_AT_ONCE = 8
"""Of 16 frames, 128 queries in one pass through the gallery."""

Shots = Sequence[int]
"""The number of the shot of each of several consecutive frames, which never falls."""


class EncodedBatch(NamedTuple):
    """What a model's first graph has made of consecutive frames, (n, D) float32, with their shots and media times."""

    features: np.ndarray
    shot: Shots
    media_time_s: Sequence[float]


def split_into_shots(batches: Iterable[EncodedBatch]) -> Iterator[Iterator[np.ndarray]]:
    """Yield for every shot an iterator over the batches of its features (n, D), to be used up before the next is asked
    for.
    """
    for _, pieces in groupby(_pieces(batches), key=lambda piece: piece[0]):
        yield (features for _, features in pieces)


def _pieces(batches: Iterable[EncodedBatch]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the parts of batches that lie in one shot, each with its shot."""
    for features, shots, _ in batches:
        begins = [0, *(np.flatnonzero(np.diff(shots)) + 1).tolist()]
        for begin, end in zip(begins, [*begins[1:], len(features)], strict=True):
            yield shots[begin], features[begin:end]


def blend_windows(
    batches: Iterable[np.ndarray], frames: int, overlap_frames: int, run_windows: Callable[[np.ndarray], Outputs]
) -> Iterator[Outputs]:
    """Yield the outputs of all frames in order, as soon as no later window can change them.

    ``batches`` are feature arrays (n, D) of consecutive frames, ``run_windows`` maps the features (W, t, D) of windows
    to outputs (W, t, ...). All windows that a batch completes are run together, at most ``WINDOWS_AT_ONCE``: for few
    frames a search through the gallery costs as much as for many. A frame that several windows see gets their average,
    weighted by its distance from the window's ends. A clip shorter than a window is one window of its own length; the
    last window of a longer clip ends at its last frame.
    """
    stride = frames - overlap_frames
    pending = np.empty((0, 0), np.float32)  # features from the start of the next window on
    blend = _Blend()
    seen_window = False
    tail = pending  # the last ``frames`` features, for a last window that ends with the clip
    for batch in batches:
        pending = batch if pending.size == 0 else np.concatenate([pending, batch])
        tail = (batch if tail.size == 0 else np.concatenate([tail, batch]))[-frames:]
        while len(pending) >= frames:
            count = min(WINDOWS_AT_ONCE, (len(pending) - frames) // stride + 1)
            windows = np.stack([pending[begin : begin + frames] for begin in range(0, count * stride, stride)])
            for outputs in _each_window(run_windows(windows)):
                blend.add(outputs)
                yield blend.take(stride)
            pending = pending[count * stride :]
            seen_window = True
    if not seen_window and len(pending):
        (outputs,) = _each_window(run_windows(pending[None]))
        blend.add(outputs)
        yield blend.take(len(pending))
    elif len(pending) > overlap_frames:
        # Frames no window has seen: one more window, shifted back so that it is full.
        (outputs,) = _each_window(run_windows(tail[None]))
        blend.add(outputs, offset=len(pending) - frames)
        yield blend.take(len(pending))
    elif seen_window and overlap_frames:
        yield blend.take(overlap_frames)


def run_strands(windows: np.ndarray, strands: int, run_windows: Callable[[np.ndarray], Outputs]) -> Outputs:
    """Return the outputs (W, t, ...) of windows (W, t, D) that hold so many clips each, interleaved: every n-th frame
    from the first on, from the second on and so forth is run by itself.
    """
    if strands == 1:
        return run_windows(windows)
    woven: Outputs = {}
    for first in range(min(strands, windows.shape[1])):
        for name, values in run_windows(np.ascontiguousarray(windows[:, first::strands])).items():
            whole = woven.setdefault(name, np.empty((*windows.shape[:2], *values.shape[2:]), values.dtype))
            whole[:, first::strands] = values
    return woven


def _each_window(outputs: Outputs) -> list[Outputs]:
    """Return the outputs (t, ...) of every window of ``outputs`` (W, t, ...)."""
    count = len(next(iter(outputs.values())))
    return [{name: values[index] for name, values in outputs.items()} for index in range(count)]


def window_weights(count: int) -> np.ndarray:
    """Return the (count,) float32 weights of a window's frames: a triangle, never zero."""
    index = np.arange(count)
    return (np.minimum(index, count - 1 - index) + 1).astype(np.float32)


class _Blend:
    """Weighted sums of the frames that are not final yet; frame 0 is the first of them."""

    def __init__(self) -> None:
        self.sums: Outputs = {}
        self.weights = np.zeros(0, np.float32)

    def add(self, outputs: Outputs, offset: int = 0) -> None:
        """Add a window whose first frame is ``offset`` frames after frame 0; frames before 0 are already final."""
        skip = max(0, -offset)
        count = len(next(iter(outputs.values())))
        weights = window_weights(count)[skip:]
        begin, end = offset + skip, offset + count
        self._grow(end, outputs)
        self.weights[begin:end] += weights
        for name, values in outputs.items():
            shaped = weights.reshape(-1, *(1,) * (values.ndim - 1))
            self.sums[name][begin:end] += values[skip:] * shaped

    def take(self, count: int) -> Outputs:
        """Return the averages of the first ``count`` frames and forget them."""
        outputs = {}
        for name, sums in self.sums.items():
            shaped = self.weights[:count].reshape(-1, *(1,) * (sums.ndim - 1))
            outputs[name] = sums[:count] / shaped
            self.sums[name] = sums[count:]
        self.weights = self.weights[count:]
        return outputs

    def _grow(self, length: int, outputs: Outputs) -> None:
        missing = length - len(self.weights)
        if missing <= 0:
            return
        self.weights = np.concatenate([self.weights, np.zeros(missing, np.float32)])
        for name, values in outputs.items():
            rows = np.zeros((missing, *values.shape[1:]), np.float32)
            self.sums[name] = np.concatenate([self.sums[name], rows]) if name in self.sums else rows
