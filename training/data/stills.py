"""One picture of a still image at the size the model wants, through the filters that video frames go through.

The decoder is libavcodec here as there, and the scaling is libswscale's with the very flags of
``vidtag_cli.video.ffmpeg``, so an image gives the pixels that the same image as a frame of a video gives (a test
compares them). Only the process differs: starting ffmpeg for each of a million images would take longer than reading
them.
"""

from __future__ import annotations

import io
from pathlib import Path

import av
import av.error
import av.filter
import numpy as np
from av.video.frame import VideoFrame
from PIL import Image, UnidentifiedImageError

from vidtag_cli.errors import InputError
from vidtag_cli.video.decode_command import SCALE_FLAGS, SCALED_FORMAT

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
