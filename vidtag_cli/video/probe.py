"""Reading what a video file says about itself, with PyAV: the imageio-ffmpeg wheel has no ffprobe."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
from av.sidedata.sidedata import Type as SideDataType

from vidtag_cli.errors import VideoError
from vidtag_cli.video.boxes import Boxes, read_boxes
from vidtag_cli.video.containers import CONTAINER_OPTIONS, STILL_FORMATS, file_url, transport_shortfall_bytes
from vidtag_cli.video.exif import Exif, read_exif
from vidtag_cli.video.info import VideoInfo
from vidtag_cli.video.limits import DEFAULT_LIMITS, DecodeLimits
from vidtag_cli.video.location import find_embedded_location, is_location_key
from vidtag_cli.video.orientation import Orientation, orientation_from_matrix
from vidtag_cli.video.refusals import ANIMATION, ENCRYPTED, HEAD_BYTES, JPEG_IN_TIFF, PICTURE_FORMAT, reason_for_refusal
from vidtag_cli.video.source import opened_file
from vidtag_cli.video.streams import choose_stream

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_QUARTER_TURN_DEG = 90
_UPRIGHT = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
_HDR_TRANSFERS = {16: "PQ (SMPTE ST 2084)", 18: "HLG (ARIB STD-B67)"}  # code points of ITU-T H.273
_MAX_PACKETS_TO_FIRST_FRAME = 300
"""Ten seconds at 30 fps: past the longest customary distance of key frames, short enough for a broken file."""
_MAX_TAG_CHARACTERS = 4096


def probe_video(
    path: Path, descriptor: int | None = None, stream_index: int | None = None, limits: DecodeLimits = DEFAULT_LIMITS
) -> VideoInfo:
    """Return what the file states about its container, its main video stream and its metadata.

    One frame is decoded, for the rotation. With a ``descriptor`` the file is read that it has open, now and when its
    frames are decoded, and ``path`` is only its name. ``stream_index`` names another stream than the one that
    ``choose_stream`` takes. Raises InputError when the path is missing, is no regular file, is empty or cannot be read,
    and VideoError when it is no accepted container or holds no video stream that can be decoded within ``limits``.
    """
    with opened_file(path, descriptor) as opened_fd, os.fdopen(os.dup(opened_fd), "rb") as file:
        size_bytes = os.fstat(opened_fd).st_size
        boxes = read_boxes(file, size_bytes)
        if boxes is not None and boxes.picture_brand is not None:
            reason = PICTURE_FORMAT.format(brand=boxes.picture_brand, name=path.name)
            raise VideoError(f"{path}: not a video that can be read: {reason}")
        exif = read_exif(file)
        if exif.is_animated:
            raise VideoError(f"{path}: not a video that can be read: {ANIMATION.format(name=path.name)}")
        if exif.is_jpeg_in_tiff:  # ffmpeg gives black pictures and no error
            raise VideoError(f"{path}: not a video that can be read: {JPEG_IN_TIFF}")
        try:
            with _open_container(opened_fd, limits) as container:
                stream, others = choose_stream(path, container, stream_index)
                if container.format.name in STILL_FORMATS and not stream.codec_context.width:
                    raise VideoError(f"{path}: a photograph that cannot be decoded: get a copy that is whole")
                _check_limits(path, stream, limits)
                stream_index = stream.index  # the stream itself goes with its container
            if boxes is not None and boxes.is_encrypted:
                raise VideoError(f"{path}: {ENCRYPTED}")
            with _open_container(opened_fd, limits) as container:
                own = exif if container.format.name in STILL_FORMATS else None
                info = _read_info(path, size_bytes, container, stream_index, boxes, own)
        except av.error.FFmpegError as error:
            file.seek(0)
            reason = reason_for_refusal(path.name, file.read(HEAD_BYTES), boxes, error.strerror or "no reason given")
            raise VideoError(f"{path}: not a video that can be read: {reason}") from error
        if info.container_format == "mpegts":
            info = replace(info, missing_bytes=transport_shortfall_bytes(opened_fd, size_bytes))
    return replace(info, descriptor=descriptor, other_streams=others)


def _open_container(descriptor: int, limits: DecodeLimits) -> InputContainer:
    # max_pixels is for the decoders with which libavformat itself looks into the streams.
    options = {**CONTAINER_OPTIONS, "max_pixels": str(limits.decoder_pixels)}
    return av.open(file_url(Path(), descriptor), options=options, metadata_errors="replace")


def _check_limits(path: Path, stream: VideoStream, limits: DecodeLimits) -> None:
    """Raise VideoError, before a picture is allocated, when its pictures are larger than is allowed."""
    width_px, height_px = stream.codec_context.width, stream.codec_context.height
    if width_px <= 0 or height_px <= 0:
        raise VideoError(
            f"{path}: its video stream does not say how large its pictures are, or they have more than the limit of "
            f"{limits.max_pixels:,} pixels: if that is what the camera made, raise --max-pixels"
        )
    if width_px * height_px > limits.max_pixels:
        raise VideoError(
            f"{path}: its pictures have {width_px} x {height_px} pixels, more than the limit of {limits.max_pixels:,}: "
            "if that is what the camera made, raise --max-pixels"
        )


def _read_info(
    path: Path, size_bytes: int, container: InputContainer, stream_index: int, boxes: Boxes | None, exif: Exif | None
) -> VideoInfo:
    number, stream = next(
        (number, stream) for number, stream in enumerate(container.streams.video) if stream.index == stream_index
    )
    time_base = stream.time_base
    if time_base is None:
        raise VideoError(f"{path}: its video stream has no time base, so its frames have no times")
    codec = stream.codec_context
    tags = _clean_tags(container, stream)
    frame = _first_frame(container, stream)
    stated_matrix = None if boxes is None else boxes.display_matrices.get(stream.id)
    if exif is None:
        orientation, notes = _orientation(frame, stated_matrix)
    else:  # of a photograph EXIF alone says how it is turned
        orientation, notes = _orientation(frame, exif.display_matrix or _UPRIGHT)
        notes += _photograph_notes(exif)
        tags |= {} if exif.taken is None else {"exif DateTimeOriginal": exif.taken}
    notes += _picture_notes(stream, frame, tags)
    start_time_s = _seconds(container.start_time, Fraction(1, av.time_base))
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
        average_frame_rate_fps=_average_rate_fps(stream, time_base),
        frame_count=stream.frames or None,
        tags=tags,
        creation_time=_datetime(tags.get("creation_time")),
        apple_creation_date=_datetime(tags.get("com.apple.quicktime.creationdate")),
        embedded_location=find_embedded_location(tags) if exif is None else exif.location,
        notes=notes,
        stream_index=stream.index,
        origin_s=0.0 if boxes is not None else start_time_s or 0.0,  # MP4 files count from where recording began
        first_frame_pts=None if frame is None else frame.pts,
        missing_bytes=0 if boxes is None else boxes.missing_bytes,
    )


def _photograph_notes(exif: Exif) -> tuple[str, ...]:
    return () if exif.pages == 1 else (f"only the first of {exif.pages} pictures in the file is used",)


def _average_rate_fps(stream: VideoStream, time_base: Fraction) -> float | None:
    """Return the average rate that the stream states. One frame a tick, as of DV, is the clock and not the frames."""
    rate, base_rate = stream.average_rate, stream.base_rate
    if rate and base_rate and base_rate < rate and rate * time_base >= 1:
        rate = base_rate
    return float(rate) if rate else None


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


def _orientation(
    frame: VideoFrame | None, stated_matrix: tuple[int, ...] | None = None
) -> tuple[Orientation, tuple[str, ...]]:
    """Return how the pictures are turned: as the container states it (nine integers), else as the first frame does."""
    if stated_matrix is not None:
        return _orientation_of(struct.pack("=9i", *(_as_int32(number) for number in stated_matrix)))
    if frame is None:
        return Orientation(), ("no frame could be decoded at the start, so a rotation would not be known",)
    try:
        side_data: Any = frame.side_data  # its stub knows motion vectors only
        matrix = bytes(side_data[SideDataType.DISPLAYMATRIX])
    except KeyError:
        return Orientation(), ()
    except ValueError as error:  # PyAV refuses kinds of side data newer than itself, such as the EXIF of MJPEG
        rotation_deg = round(-frame.rotation / _QUARTER_TURN_DEG) % 4 * _QUARTER_TURN_DEG
        return Orientation(rotation_deg), (
            f"the side data of its frames cannot be read ({error}): a mirroring would not be known",
        )
    return _orientation_of(matrix)


def _orientation_of(matrix: bytes) -> tuple[Orientation, tuple[str, ...]]:
    try:
        orientation = orientation_from_matrix(matrix)
    except ValueError as error:
        return Orientation(), (f"display matrix ignored: {error}",)
    if not orientation.is_exact:
        return orientation, (f"rotation rounded to {orientation.rotation_deg} degrees",)
    return orientation, ()


def _as_int32(number: int) -> int:
    return (number + (1 << 31)) % (1 << 32) - (1 << 31)


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
