"""The pixels of a sample's frames, from images and videos alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from training.data.sample import FrameSource, Sample
from training.data.stills import read_still
from vidtag_cli.errors import VideoError
from vidtag_cli.video import VideoDecoder, probe_video

SAME_FRAME_S = 1e-6
"""Times of one frame, told by the demuxer and by the decoder, are the same number of ticks; frames are ms apart."""


def read_frames(sample: Sample, indices: Sequence[int] | np.ndarray, size_px: int) -> np.ndarray:
    """Return (T, S, S, 3) uint8 RGB of the frames ``indices`` (T,), upright and squashed to the square.

    ``indices`` may come in any order and repeat. Videos are streamed: of each frame only the small picture is ever in
    memory. Raises InputError or VideoError, naming file and time, when a frame cannot be had.
    """
    wanted = np.asarray(indices, dtype=np.int64)
    frames = np.empty((len(wanted), size_px, size_px, 3), np.uint8)
    for index, rgb in iterate_frames(sample, np.unique(wanted), size_px):
        frames[wanted == index] = rgb
    return frames


def iterate_frames(
    sample: Sample, indices: Sequence[int] | np.ndarray, size_px: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each of the increasing ``indices`` with its picture (S, S, 3) uint8 RGB; every video is opened once."""
    waiting: list[int] = []
    for index in (int(value) for value in indices):
        source = sample.frames[index]
        if waiting and (source.media_time_s is None or source.path != sample.frames[waiting[0]].path):
            yield from _video_frames(sample.frames, waiting, size_px)
            waiting = []
        if source.media_time_s is None:
            yield index, read_still(source.path, size_px)
        else:
            waiting.append(index)
    if waiting:
        yield from _video_frames(sample.frames, waiting, size_px)


def _video_frames(
    sources: Sequence[FrameSource], indices: Sequence[int], size_px: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield frames of one video; decoding ends with the last wanted one."""
    path = sources[indices[0]].path
    left = [(index, _media_time_s(sources[index])) for index in reversed(indices)]
    with VideoDecoder(path, probe_video(path), (size_px, size_px)) as decoder:
        for frame in decoder:
            if frame.media_time_s > left[-1][1] + SAME_FRAME_S:
                break
            if abs(frame.media_time_s - left[-1][1]) <= SAME_FRAME_S:
                yield left.pop()[0], frame.rgb
            if not left:
                return
        raise _missing(path, left[-1][1], decoder.errors)


def _media_time_s(source: FrameSource) -> float:
    if source.media_time_s is None:
        raise ValueError(f"{source.path} is an image, not a frame of a video")
    return source.media_time_s


def _missing(path: Path, media_time_s: float, errors: tuple[str, ...]) -> VideoError:
    said = f" ({errors[0]})" if errors else ""
    return VideoError(f"{path}: the frame at {media_time_s:.3f} s cannot be decoded{said}; the file may be damaged")
