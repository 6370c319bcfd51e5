"""Which containers are opened, and how a path is spelt for libavformat: the same for PyAV and for ffmpeg."""

from __future__ import annotations

import os
from pathlib import Path

CONTAINER_FORMATS = (
    "mov",  # mp4, mov, m4v, 3gp
    "matroska",  # and webm
    "avi",
    "mpegts",  # and m2ts
    "mpeg",  # programme streams: mpg, vob
    "flv",
    "asf",  # wmv
    "ogg",
    "mxf",
    "dv",
    "gxf",
    "nut",
    "ivf",
    "rm",
    "wtv",
    "dhav",  # the dav files of Dahua recorders
)
"""Demuxers that may read an input: files that hold their own pictures and a time for each of them.

Left out on purpose: everything that names other files or addresses (hls, dash, concat, imf, sdp, image2 and the like),
devices, still pictures, and raw elementary streams (h264, hevc, mpegvideo, mjpeg), which carry no times of their own.
"""

FORMAT_WHITELIST = ",".join(CONTAINER_FORMATS)

PROTOCOL_WHITELIST = "file,pipe"
"""No network, and none of the protocols that join, decrypt or compute their content."""

CONTAINER_OPTIONS = {"protocol_whitelist": PROTOCOL_WHITELIST, "format_whitelist": FORMAT_WHITELIST}
"""What both lists are called where PyAV opens a file."""


def file_url(path: Path, descriptor: int | None = None) -> str:
    """Return the address of a local file that libavformat cannot take for an option, a protocol or a pattern.

    With a ``descriptor`` it is that of the open file, whatever has taken its name meanwhile: in this process, and in
    one that inherits the descriptor.
    """
    return f"file:{os.fspath(path)}" if descriptor is None else f"file:/proc/self/fd/{descriptor}"
