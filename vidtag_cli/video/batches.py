"""Consecutive frames as one array, without a copy where they already lie next to each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vidtag_cli.video.decode import Frame


class TakenFrame(NamedTuple):
    """What is known of a frame without a model: its number in its video, from 0, its media time in seconds, the number
    of its shot, from 0, and how much its pixels differ from each other, in levels of 0 to 255.
    """

    source_index: int
    media_time_s: float
    shot: int
    spread_levels: float


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no single answer to ==
class FrameBatch:
    """Consecutive frames in use: pixels (n, H, W, 3) uint8 RGB, and for each its media time, its number in the video
    and that of its shot.
    """

    frames_rgb: np.ndarray
    media_time_s: tuple[float, ...]
    source_index: tuple[int, ...]
    shot: tuple[int, ...]

    def taken(self) -> list[TakenFrame]:
        """Return what is known of each frame without a model."""
        columns = self.source_index, self.media_time_s, self.shot, spread_levels(self.frames_rgb).tolist()
        return [TakenFrame(*frame) for frame in zip(*columns, strict=True)]


def frame_batches(frames: Iterable[Frame], batch_frames: int) -> Iterator[FrameBatch]:
    """Yield frames in batches of ``batch_frames``, the last one shorter.

    A VideoDecoder with ``block_frames`` equal to ``batch_frames`` gives views of its own memory, except where a frame
    was left out in between.
    """
    taken: list[Frame] = []
    for frame in frames:
        taken.append(frame)
        if len(taken) == batch_frames:
            yield _batch(taken)
            taken = []
    if taken:
        yield _batch(taken)


def spread_levels(frames_rgb: np.ndarray) -> np.ndarray:
    """Return the standard deviation of the pixels of frames (n, H, W, 3) uint8, (n,) float64: the mean of the three
    colours, of every third pixel either way.
    """
    levels: np.ndarray = frames_rgb[:, ::3, ::3].astype(np.float32).std(axis=(1, 2), dtype=np.float64).mean(axis=-1)
    return levels


def stacked(frames_rgb: Sequence[np.ndarray]) -> np.ndarray:
    """Return frames (H, W, 3) as one array (n, H, W, 3): a view if they follow each other in one block."""
    first = frames_rgb[0]
    block = first.base
    if block is None or block.ndim != first.ndim + 1 or block.shape[1:] != first.shape:
        return np.stack(frames_rgb)
    begin = (_address(first) - _address(block)) // first.nbytes
    end = begin + len(frames_rgb)
    follows = all(
        frame.base is block and _address(frame) == _address(first) + number * first.nbytes
        for number, frame in enumerate(frames_rgb)
    )
    return block[begin:end] if follows and end <= len(block) else np.stack(frames_rgb)


def _batch(frames: Sequence[Frame]) -> FrameBatch:
    return FrameBatch(
        stacked([frame.rgb for frame in frames]),
        tuple(frame.media_time_s for frame in frames),
        tuple(frame.source_index for frame in frames),
        tuple(frame.shot for frame in frames),
    )


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])
