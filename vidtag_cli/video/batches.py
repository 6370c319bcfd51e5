"""Consecutive frames as one array, without a copy where they already lie next to each other; and facts of frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vidtag_cli.video.decode import Frame


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """What is known of a frame without a model, and travels with whatever a model makes of it.

    ``source_index`` is its number in its video and ``shot`` that of its shot, both from 0; ``media_time_s`` its
    presentation time in seconds; ``spread_levels`` how much its pixels differ from each other, in levels of 0 to 255.
    ``repeats`` is the number of the earlier frame whose picture it shows again, None for a picture of its own.
    """

    source_index: int
    media_time_s: float
    shot: int
    spread_levels: float
    repeats: int | None = None


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no single answer to ==
class FrameBatch:
    """Consecutive frames in use: pixels ``frames_rgb`` (n, H, W, 3) uint8 RGB, and the facts of the n frames."""

    frames_rgb: np.ndarray
    facts: tuple[FrameFacts, ...]


def frame_batches(frames: Iterable[Frame], batch_frames: int) -> Iterator[FrameBatch]:
    """Yield frames in batches of ``batch_frames``, the last one shorter.

    A VideoDecoder with ``block_frames`` equal to ``batch_frames`` gives views of its own memory, except where a frame
    was left out in between.
    """
    waiting: list[Frame] = []
    for frame in frames:
        waiting.append(frame)
        if len(waiting) == batch_frames:
            yield _batch(waiting)
            waiting = []
    if waiting:
        yield _batch(waiting)


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
    frames_rgb = stacked([frame.rgb for frame in frames])
    facts = (
        FrameFacts(frame.source_index, frame.media_time_s, frame.shot, spread)
        for frame, spread in zip(frames, spread_levels(frames_rgb).tolist(), strict=True)
    )
    return FrameBatch(frames_rgb, tuple(facts))


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])
