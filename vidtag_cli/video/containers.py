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
"""Demuxers that may read a video: files that hold their own pictures and a time for each of them.

Left out on purpose: everything that names other files or addresses (hls, dash, concat, imf, sdp, image2 and the like),
devices, and raw elementary streams (h264, hevc, mpegvideo, mjpeg), which carry no times of their own.
"""

STILL_FORMATS = ("jpeg_pipe", "png_pipe", "webp_pipe", "tiff_pipe")
"""Demuxers of a photograph: a file that holds one picture and names no other."""

FORMAT_WHITELIST = ",".join((*CONTAINER_FORMATS, *STILL_FORMATS))

PROTOCOL_WHITELIST = "file,pipe"
"""No network, and none of the protocols that join, decrypt or compute their content."""

CONTAINER_OPTIONS = {"protocol_whitelist": PROTOCOL_WHITELIST, "format_whitelist": FORMAT_WHITELIST}
"""What both lists are called where PyAV opens a file."""

_SYNC_BYTE = 0x47
_TRANSPORT_PACKETS = ((188, 0), (192, 4), (204, 0))  # size, and where its sync byte stands


def file_url(path: Path, descriptor: int | None = None) -> str:
    """Return the address of a local file that libavformat cannot take for an option, a protocol or a pattern.

    With a ``descriptor`` it is that of the open file, whatever has taken its name meanwhile: in this process, and in
    one that inherits the descriptor.
    """
    return f"file:{os.fspath(path)}" if descriptor is None else f"file:/proc/self/fd/{descriptor}"


def transport_shortfall_bytes(descriptor: int, size_bytes: int) -> int:
    """Return how many bytes the last packet of a transport stream lacks, 0 for a whole one and for other files."""
    head = os.pread(descriptor, 8 * 204, 0)
    for packet_bytes, sync_at in _TRANSPORT_PACKETS:
        synced = head[sync_at::packet_bytes]
        if len(synced) >= 4 and set(synced) == {_SYNC_BYTE}:
            return -size_bytes % packet_bytes
    return 0
