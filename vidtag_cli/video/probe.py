"""Reading what a video file says about itself, with PyAV: the imageio-ffmpeg wheel has no ffprobe."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition

from vidtag_cli.errors import InputError, VideoError
from vidtag_cli.video.containers import FORMAT_WHITELIST, PROTOCOL_WHITELIST, file_url
from vidtag_cli.video.info import VideoInfo
from vidtag_cli.video.location import find_embedded_location, is_location_key
from vidtag_cli.video.orientation import Orientation, orientation_from_matrix

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_NOT_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails
_HDR_TRANSFERS = {16: "PQ (SMPTE ST 2084)", 18: "HLG (ARIB STD-B67)"}  # code points of ITU-T H.273
_MAX_PACKETS_TO_FIRST_FRAME = 300
"""Ten seconds at 30 fps: past the longest customary distance of key frames, short enough for a broken file."""
_MAX_TAG_CHARACTERS = 4096


def probe_video(path: Path, descriptor: int | None = None) -> VideoInfo:
    """Return what the file states about its container, its main video stream and its metadata.

    One frame is decoded, for the rotation. With a ``descriptor`` the file is read that it has open, now and when its
    frames are decoded, and ``path`` is only its name. Raises InputError when the path is missing, is no regular file,
    is empty or cannot be read, and VideoError when it is no accepted container or holds no video stream that can be
    decoded.
    """
    size_bytes = _readable_size_bytes(path) if descriptor is None else os.fstat(descriptor).st_size
    try:
        with av.open(
            file_url(path, descriptor),
            options={"protocol_whitelist": PROTOCOL_WHITELIST, "format_whitelist": FORMAT_WHITELIST},
            metadata_errors="replace",
        ) as container:
            return replace(_read_info(path, size_bytes, container), descriptor=descriptor)
    except av.error.FFmpegError as error:
        raise VideoError(
            f"{path}: not a video that can be read ({error.strerror}); it may be damaged, or no video container; "
            "playlists and raw streams without times are refused: give the media file itself"
        ) from error


def _readable_size_bytes(path: Path) -> int:
    """Return the size of a regular file that can be opened and holds something."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise InputError(f"{path}: is {kind}; give the path of a video file")
        with path.open("rb"):
            pass
    except FileNotFoundError as error:
        raise InputError(f"{path}: does not exist") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        raise InputError(f"{path!s}: cannot be read ({error})") from error
    if status.st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes); the copy or the download may have failed")
    return status.st_size


def _read_info(path: Path, size_bytes: int, container: InputContainer) -> VideoInfo:
    number, stream = _main_video_stream(path, container)
    time_base = stream.time_base
    if time_base is None:
        raise VideoError(f"{path}: its video stream has no time base, so its frames have no times")
    codec = stream.codec_context
    tags = _clean_tags(container, stream)
    frame = _first_frame(container, stream)
    orientation, notes = _orientation(frame)
    notes += _picture_notes(stream, frame, tags)
    return VideoInfo(
        path=path,
        size_bytes=size_bytes,
        container_format=container.format.name,
        video_stream=number,
        codec=codec.codec.canonical_name,
        pixel_format=codec.pix_fmt,
        width_px=codec.width,
        height_px=codec.height,
        sample_aspect_ratio=stream.sample_aspect_ratio or None,
        orientation=orientation,
        time_base=time_base,
        start_time_s=_seconds(stream.start_time, time_base),
        duration_s=_seconds(stream.duration, time_base) or _seconds(container.duration, Fraction(1, av.time_base)),
        average_frame_rate_fps=float(stream.average_rate) if stream.average_rate else None,
        frame_count=stream.frames or None,
        tags=tags,
        creation_time=_datetime(tags.get("creation_time")),
        apple_creation_date=_datetime(tags.get("com.apple.quicktime.creationdate")),
        embedded_location=find_embedded_location(tags),
        notes=notes,
    )


def _main_video_stream(path: Path, container: InputContainer) -> tuple[int, VideoStream]:
    """Return the largest moving picture, as ffmpeg itself would choose, and its number among the video streams."""
    moving = [
        (number, stream)
        for number, stream in enumerate(container.streams.video)
        if not stream.disposition & _NOT_PICTURES
    ]
    if not moving:
        raise VideoError(f"{path}: holds no video stream (only {_stream_kinds(container)})")
    decodable = [(number, stream) for number, stream in moving if stream.codec_context is not None]
    if not decodable:
        raise VideoError(f"{path}: its video stream is in a format that no installed decoder knows")
    number, stream = max(decodable, key=lambda item: item[1].codec_context.width * item[1].codec_context.height)
    if stream.codec_context.width <= 0 or stream.codec_context.height <= 0:
        raise VideoError(f"{path}: its video stream does not say how large its pictures are")
    return number, stream


def _stream_kinds(container: InputContainer) -> str:
    kinds = sorted({"a still picture" if stream.type == "video" else stream.type for stream in container.streams})
    return ", ".join(kinds) or "nothing"


def _first_frame(container: InputContainer, stream: VideoStream) -> VideoFrame | None:
    """Return the first frame that can be decoded, or None when the first packets hold none."""
    stream.codec_context.thread_count = 1  # frame threads would delay it by one frame each
    try:
        for count, packet in enumerate(container.demux(stream)):
            if count >= _MAX_PACKETS_TO_FIRST_FRAME:
                return None
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                continue  # a damaged start; the decoder itself will report it
            for frame in frames:
                return frame
    except av.error.FFmpegError:
        return None
    return None


def _orientation(frame: VideoFrame | None) -> tuple[Orientation, tuple[str, ...]]:
    if frame is None:
        return Orientation(), ("no frame could be decoded at the start, so a rotation would not be known",)
    try:
        side_data: Any = frame.side_data  # its stub knows motion vectors only
    except ValueError as error:  # PyAV refuses kinds of side data newer than itself, such as the EXIF of MJPEG
        return Orientation(), (f"the side data of its frames cannot be read ({error}): a rotation would not be known",)
    try:
        orientation = orientation_from_matrix(bytes(side_data[SideDataType.DISPLAYMATRIX]))  # type: ignore[typeddict-item]
    except KeyError:
        return Orientation(), ()
    except ValueError as error:
        return Orientation(), (f"display matrix ignored: {error}",)
    if not orientation.is_exact:
        return orientation, (f"rotation rounded to {orientation.rotation_deg} degrees",)
    return orientation, ()


def _picture_notes(stream: VideoStream, frame: VideoFrame | None, tags: dict[str, str]) -> tuple[str, ...]:
    notes = []
    transfer = _HDR_TRANSFERS.get(stream.codec_context.color_trc)
    if transfer is not None:
        notes.append(f"high dynamic range, {transfer}: decoded without tone mapping, so it looks flat and grey")
    if frame is not None and frame.interlaced_frame:
        notes.append("interlaced: frames are used as stored, without deinterlacing")
    if find_embedded_location(tags) is None:
        notes += [f"location tag {key} cannot be read: {tags[key]!r}" for key in tags if is_location_key(key)]
    return tuple(notes)


def _clean_tags(container: InputContainer, stream: VideoStream) -> dict[str, str]:
    """Return the metadata as printable text; the keys of the stream get a prefix so that they hide none."""
    named = {**container.metadata, **{f"video:{key}": value for key, value in stream.metadata.items()}}
    return {_printable(key): _printable(value) for key, value in named.items()}


def _printable(text: str) -> str:
    """Return the text without control characters, which could move a terminal's cursor or end a line of a record."""
    cleaned = "".join(character if character.isprintable() else " " for character in text[:_MAX_TAG_CHARACTERS])
    return cleaned.strip()


def _seconds(ticks: int | None, time_base: Fraction) -> float | None:
    return None if ticks is None else float(ticks * time_base)


def _datetime(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
