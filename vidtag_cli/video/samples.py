"""A few pictures from all over a video, small, to see what never changes in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.error
import numpy as np

from vidtag_cli.video.containers import CONTAINER_OPTIONS, file_url
from vidtag_cli.video.info import VideoInfo
from vidtag_cli.video.limits import DecodeLimits
from vidtag_cli.video.source import opened_file

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

SAMPLED_PICTURES = 20

LONGEST_SIDE_PX = 640
"""Of a sampled picture: every so many pixels of the stored one, so that lines stay sharp."""

_ENOUGH_KEY_PICTURES = 8
_PACKETS_READ = 1500
"""Where key frames are too few: a minute at 25 frames a second, decoded without what no other frame needs."""


def sample_pictures(
    info: VideoInfo, limits: DecodeLimits, settles: Callable[[np.ndarray], bool], enough: int
) -> list[np.ndarray]:
    """Return pictures (h, w, 3) uint8 RGB of a probed video as stored, not turned, in order of time.

    These are ``SAMPLED_PICTURES`` key frames evenly spread over the video; where it has too few of them and they are
    not enough, frames evenly spread over its first ``_PACKETS_READ`` packets, read until ``enough`` of the
    pictures settle what is asked. One of another size than the video's first is brought to its grid. What cannot be
    decoded is left out: the decoder itself will report it. The same file gives the same pictures on every machine.
    """

    def open_container() -> InputContainer:
        options = {**CONTAINER_OPTIONS, "max_pixels": str(limits.decoder_pixels)}
        return av.open(file_url(Path(), descriptor), options=options, metadata_errors="replace")

    with opened_file(info.path, info.descriptor) as descriptor:
        pictures: list[np.ndarray] = []
        try:
            with open_container() as container:
                pictures = _key_pictures(container, info)
            if len(pictures) >= _ENOUGH_KEY_PICTURES or sum(map(settles, pictures)) >= enough:
                return pictures
            with open_container() as container:
                following = _following_pictures(container, info, settles, enough)
        except av.error.FFmpegError:
            return pictures
    return following if len(following) > len(pictures) else pictures


def sampling_step(info: VideoInfo) -> int:
    """Return how many stored pixels lie between two of a sampled picture."""
    return max(1, math.ceil(max(info.width_px, info.height_px) / LONGEST_SIDE_PX))


def _key_pictures(container: InputContainer, info: VideoInfo) -> list[np.ndarray]:
    """Return the key frames before evenly spread times, each once."""
    stream = container.streams.video[info.video_stream]
    stream.codec_context.thread_count = 1
    stream.codec_context.skip_frame = "NONKEY"
    pictures: dict[int, np.ndarray] = {}
    for time_s in _target_times_s(info):
        try:
            container.seek(round(Fraction(time_s) / info.time_base), stream=stream, backward=True)
            frame = next(_decoded(container, stream), None)
        except (av.error.FFmpegError, OverflowError):
            continue  # no index, or a damaged place
        if frame is not None and frame.pts is not None and frame.pts not in pictures:
            pictures[frame.pts] = _grid_picture(frame, info)
    return [pictures[pts] for pts in sorted(pictures)]


def _target_times_s(info: VideoInfo) -> list[float]:
    if not info.duration_s or not math.isfinite(info.duration_s):
        return []
    begin_s = info.start_time_s or 0.0
    return [begin_s + info.duration_s * (number + 0.5) / SAMPLED_PICTURES for number in range(SAMPLED_PICTURES)]


def _following_pictures(
    container: InputContainer, info: VideoInfo, settles: Callable[[np.ndarray], bool], enough: int
) -> list[np.ndarray]:
    """Return frames evenly spread over the first packets of a video, without those that no other frame needs."""
    stream = container.streams.video[info.video_stream]
    stream.codec_context.thread_count = 1
    stream.codec_context.skip_frame = "NONREF"
    stream.codec_context.options = {"skip_loop_filter": "all"}
    pictures: list[np.ndarray] = []
    every, settled = 1, 0
    for number, frame in enumerate(_decoded(container, stream)):
        if number % every:
            continue
        pictures.append(_grid_picture(frame, info))
        settled += settles(pictures[-1])
        if settled >= enough:
            break
        if len(pictures) == 2 * SAMPLED_PICTURES:  # how many there will be is not known before: every second one goes
            del pictures[1::2]
            every *= 2
    return pictures[:: -(-len(pictures) // SAMPLED_PICTURES) or 1]


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    for packet in islice(container.demux(stream), _PACKETS_READ):
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            continue  # a damaged packet


def _grid_picture(frame: VideoFrame, info: VideoInfo) -> np.ndarray:
    """Return every so many pixels of a frame; of one of another size, the pixels nearest to these."""
    step = sampling_step(info)
    pixels = frame.to_ndarray(format="rgb24")
    rows = np.arange(0, info.height_px, step) * pixels.shape[0] // info.height_px
    columns = np.arange(0, info.width_px, step) * pixels.shape[1] // info.width_px
    return np.ascontiguousarray(pixels[rows][:, columns])
