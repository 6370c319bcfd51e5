"""Modes that leave frames out tell the number and the time of the very picture they give, or refuse the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vidtag_cli.errors import VideoError
from vidtag_cli.video.decode import Frame, VideoDecoder
from vidtag_cli.video.decode_command import DecodeMode
from vidtag_cli.video.probe import probe_video

REORDERED = ("-bf", 2, "-g", 25)
FILES = {
    "mpeg4.mp4": ("mpeg4", *REORDERED),
    "mpeg4.mkv": ("mpeg4", *REORDERED),
    "mpeg4.avi": ("mpeg4", *REORDERED),
    "xvid.avi": ("libxvid", *REORDERED),
    "h264.avi": ("libx264", "-g", 25),
    "mjpeg.avi": ("mjpeg",),
    "mpeg2.ts": ("mpeg2video", *REORDERED),
    "mpeg2.vob": ("mpeg2video", *REORDERED),
    "h264.mpg": ("libx264", "-g", 25),
    "h264.ts": ("libx264", "-g", 25),
    "h264_sparse.ts": ("libx264", "-g", 25, "-pes_payload_size", 60000),
    "h264.flv": ("libx264", "-g", 25),
    "h264_fields.mp4": ("libx264", "-g", 25, "-flags", "+ildct+ilme"),
    "theora.ogv": ("libtheora", "-g", 25),
    "wmv.wmv": ("wmv2", "-g", 25),
    "vp9.webm": ("libvpx-vp9", "-g", 25, "-cpu-used", 8, "-lag-in-frames", 10),
}
REFUSED = {"mpeg4.avi", "xvid.avi", "h264.avi", "mpeg2.vob", "h264.mpg", "theora.ogv"}


def decode(path: Path, mode: DecodeMode) -> list[Frame]:
    with VideoDecoder(path, probe_video(path), (64, 48), mode=mode) as decoder:
        return list(decoder)


@pytest.mark.parametrize("name", FILES)
def test_a_sparse_mode_tells_the_picture_it_gives_or_refuses(
    clips: Path, run_ffmpeg: Callable[..., bytes], name: str
) -> None:
    path, (codec, *options) = clips / f"sparse_{name}", FILES[name]
    source = "testsrc2=size=64x48:rate=25:duration=3"
    run_ffmpeg("-f", "lavfi", "-i", source, "-pix_fmt", "yuvj420p" if codec == "mjpeg" else "yuv420p",
               "-c:v", codec, *options, path)  # fmt: skip
    everything = decode(path, "exact")
    for mode in ("keyframes", "fast"):
        if name in REFUSED:
            with pytest.raises(VideoError, match=r"no certain time and number: use --decode exact"):
                decode(path, mode)  # type: ignore[arg-type]
            continue
        frames = decode(path, mode)  # type: ignore[arg-type]
        assert len(frames) >= 3
        for frame in frames:
            assert frame.media_time_s == everything[frame.source_index].media_time_s
            assert np.array_equal(frame.rgb, everything[frame.source_index].rgb)


def test_times_that_start_again_are_no_numbers_of_frames(clips: Path, run_ffmpeg: Callable[..., bytes]) -> None:
    path = clips / "sparse_joined.ts"
    source = "testsrc2=size=64x48:rate=10:duration=1"
    path.write_bytes(run_ffmpeg("-f", "lavfi", "-i", source, "-c:v", "libx264", "-f", "mpegts", "pipe:1") * 2)
    with pytest.raises(VideoError, match="start again.*use --decode exact"):
        decode(path, "keyframes")
