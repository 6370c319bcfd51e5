"""Which of a file's video streams is located: the moving, default one, as ffmpeg chooses, or the one asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from av.stream import Disposition

from vidtag_cli.errors import UsageError, VideoError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

NOT_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
_MAX_PACKETS = 20_000
"""Of all streams, read to tell a still from a video where the header does not count the frames."""


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """A video stream of a file: its number among all streams, as ffmpeg counts them, its codec and its size as stored.

    ``is_still`` is True for a stream of a single picture, ``is_default`` for one that the file marks so.
    """

    index: int
    codec: str
    width_px: int
    height_px: int
    is_still: bool
    is_default: bool

    @property
    def text(self) -> str:
        """What a user sees of it."""
        kind = ", a single picture" if self.is_still else ""
        return f"stream {self.index} ({self.codec}, {self.width_px} x {self.height_px}{kind})"


def choose_stream(
    path: Path, container: InputContainer, index: int | None = None
) -> tuple[VideoStream, tuple[StreamSummary, ...]]:
    """Return the stream to locate and a summary of every other one that could be.

    Without an ``index`` it is a moving one before a single picture, a default one before others, a large one before
    small ones, and then the first. Packets may have been read from the container. Raises UsageError for an index of no
    video stream and VideoError when there is none that can be decoded.
    """
    streams = [stream for stream in container.streams.video if not stream.disposition & NOT_PICTURES]
    if not streams and index is None:
        raise VideoError(f"{path}: holds no video stream (only {_stream_kinds(container)})")
    decodable = [stream for stream in container.streams.video if stream.codec_context is not None]
    streams = [stream for stream in decodable if stream in streams]
    if not streams and index is None:
        raise VideoError(f"{path}: its video stream is in a format that no installed decoder knows")
    stills = _stills(container, streams)
    summaries = {stream.index: _summary(stream, stream.index in stills) for stream in streams}
    if index is None:
        stream = max(streams, key=lambda stream: _rank(summaries[stream.index]))
    else:
        stream = _stream_asked_for(path, decodable, index)
    return stream, tuple(summary for number, summary in summaries.items() if number != stream.index)


def _rank(summary: StreamSummary) -> tuple[bool, bool, int]:
    return not summary.is_still, summary.is_default, summary.width_px * summary.height_px


def _stream_asked_for(path: Path, streams: list[VideoStream], index: int) -> VideoStream:
    stream = next((stream for stream in streams if stream.index == index), None)
    if stream is None:
        numbers = ", ".join(_summary(stream, False).text for stream in streams) or "none"
        raise UsageError(f"--stream {index}: {path} has no such video stream; it has {numbers}")
    return stream


def _summary(stream: VideoStream, is_still: bool) -> StreamSummary:
    context = stream.codec_context
    is_default = bool(stream.disposition & Disposition.default)
    return StreamSummary(
        stream.index, context.codec.canonical_name, context.width, context.height, is_still, is_default
    )


def _stills(container: InputContainer, streams: list[VideoStream]) -> set[int]:
    """Return the indices of streams with a single picture; looked for only where there is a choice."""
    if len(streams) < 2:
        return set()
    uncounted = [stream for stream in streams if stream.frames == 0]
    packets = {stream.index: stream.frames for stream in streams}
    if uncounted:
        for number, packet in enumerate(container.demux()):
            if packet.stream_index in packets and packet.size:
                packets[packet.stream_index] += 1
            if number > _MAX_PACKETS or all(packets[stream.index] > 1 for stream in uncounted):
                break
    return {index for index, count in packets.items() if count == 1}


def _stream_kinds(container: InputContainer) -> str:
    kinds = sorted({"a still picture" if stream.type == "video" else stream.type for stream in container.streams})
    return ", ".join(kinds) or "nothing"
