"""The pixels of a sample's frames, from images and videos alike.

Images are decoded by libavcodec as videos are, and scaled by libswscale with the very flags of
``vidtag_cli.video.decode_command``, so an image gives the pixels that the same image as a frame of a video gives (a
test compares them). Only the process differs: starting ffmpeg for each of a million images would take longer than
reading them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import av.error
import av.filter
import numpy as np
from av.video.frame import VideoFrame
from PIL import Image, UnidentifiedImageError

from training.data.sample import FrameSource, Sample
from vidtag_cli.errors import InputError, VideoError
from vidtag_cli.video import VideoDecoder, probe_video
from vidtag_cli.video.decode_command import SCALE_FLAGS, SCALED_FORMAT

SAME_FRAME_S = 1e-6
"""Times of one frame, told by the demuxer and by the decoder, are the same number of ticks; frames are ms apart."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

_FORMAT_WHITELIST = "jpeg_pipe,png_pipe,webp_pipe"

_EXIF_ORIENTATION = 0x0112

_UPRIGHT: dict[int, tuple[tuple[str, str], ...]] = {
    2: (("hflip", ""),),
    3: (("hflip", ""), ("vflip", "")),
    4: (("vflip", ""),),
    5: (("transpose", "cclock_flip"),),
    6: (("transpose", "clock"),),
    7: (("transpose", "clock_flip"),),
    8: (("transpose", "cclock"),),
}
"""The filters that show a picture as its EXIF orientation asks (JEITA CP-3451, tag 274)."""


def read_frames(sample: Sample, indices: Sequence[int] | np.ndarray, size_px: int) -> np.ndarray:
    """Return (T, S, S, 3) uint8 RGB of the frames ``indices`` (T,), upright and squashed to the square.

    ``indices`` may come in any order and repeat. Videos are streamed: of each frame only the small picture is ever in
    memory. Raises InputError or VideoError, naming file and time, when a frame cannot be had.
    """
    numbers = np.asarray(indices, dtype=np.int64)
    frames = np.empty((len(numbers), size_px, size_px, 3), np.uint8)
    for index, rgb in iterate_frames(sample, np.unique(numbers), size_px):
        frames[numbers == index] = rgb
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


def read_still(path: Path, size_px: int) -> np.ndarray:
    """Return (S, S, 3) uint8 RGB, turned upright and squashed to the square.

    Raises InputError when the file is missing or no JPEG, PNG or WebP image that can be decoded.
    """
    try:
        frame = _decoded(path)
        scaled = (("scale", f"w={size_px}:h={size_px}:flags={SCALE_FLAGS}"), ("format", SCALED_FORMAT))
        return _filtered(frame, (*_UPRIGHT.get(_orientation(path), ()), *scaled))
    except av.error.FFmpegError as error:
        raise InputError(
            f"{path}: not an image that can be decoded ({error.strerror}): remove it or copy it anew"
        ) from error
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not an image that can be used: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _decoded(path: Path) -> VideoFrame:
    # By its name libavformat would take the file for one of a numbered series of images.
    content = io.BytesIO(path.read_bytes())
    with av.open(content, "r", options={"format_whitelist": _FORMAT_WHITELIST}) as container:
        for frame in container.decode(video=0):
            return frame
    raise InputError(f"{path}: holds no picture: remove it or copy it anew")


def _orientation(path: Path) -> int:
    with Image.open(path) as image:  # reads the header only
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))


def _filtered(frame: VideoFrame, filters: tuple[tuple[str, str], ...]) -> np.ndarray:
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    chain = [source, *(graph.add(name, arguments) for name, arguments in filters)]
    chain += [graph.add("format", "rgb24"), graph.add("buffersink")]
    graph.link_nodes(*chain).configure()
    graph.vpush(frame)
    return graph.vpull().to_ndarray()  # (S, S, 3)
