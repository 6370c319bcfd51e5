from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest

from vidtag_cli.errors import ModelError, UsageError
from vidtag_cli.video.decode_command import decode_argv, hardware_options
from vidtag_cli.video.ffmpeg import FfmpegBinary
from vidtag_cli.video.info import VideoInfo
from vidtag_cli.video.orientation import Orientation
from vidtag_cli.video.sampling import SamplingGrid


def _info(path: Path, pixel_format: str | None = "yuv420p") -> VideoInfo:
    return VideoInfo(
        path=path,
        size_bytes=1,
        container_format="mov",
        video_stream=1,
        codec="h264",
        pixel_format=pixel_format,
        width_px=64,
        height_px=48,
        sample_aspect_ratio=None,
        orientation=Orientation(),
        time_base=Fraction(1, 90000),
        start_time_s=None,
        duration_s=None,
        average_frame_rate_fps=None,
        frame_count=None,
        tags={},
        creation_time=None,
        apple_creation_date=None,
        embedded_location=None,
    )


GRID = SamplingGrid(1.0, 0, Fraction(1, 90000))
BINARY = FfmpegBinary(Path("/usr/bin/ffmpeg"), "PATH", "5.1", "")


def test_command_line_is_safe_for_evidence() -> None:
    path = Path("-a [b] %03d.mp4")
    argv = decode_argv(BINARY, path, _info(path), (32, 32), GRID, "squash", 1, 7)
    before_input = argv[: argv.index("-i")]
    assert "-nostdin" in argv
    assert argv[argv.index("-i") + 1] == "file:-a [b] %03d.mp4"
    assert before_input[before_input.index("-protocol_whitelist") + 1] == "file,pipe"
    formats = before_input[before_input.index("-format_whitelist") + 1].split(",")
    assert not {"hls", "dash", "concat", "image2", "lavfi", "sdp", "rtsp", "ffmetadata", "tty"} & set(formats)
    assert {"mov", "matroska", "avi", "mpegts"} <= set(formats)
    assert any("[0:v:1]" in argument for argument in argv)


@pytest.mark.parametrize(
    ("pixel_format", "downloaded"),
    [
        ("yuv420p", "nv12"),
        ("yuvj420p", "nv12"),
        ("yuv420p10le", "p010le"),
        ("yuv420p12le", "p016le"),
        ("yuv444p", "yuv444p"),
        ("yuv444p10le", "yuv444p16le"),
        ("yuv444p12le", "yuv444p16le"),
    ],
)
def test_a_graphics_card_is_asked_for_the_one_format_it_holds(pixel_format: str, downloaded: str) -> None:
    path = Path("a.mp4")
    argv = decode_argv(
        BINARY, path, _info(path, pixel_format), (32, 32), GRID, "squash", 1, 7, device="cuda", thumbnails_fd=8
    )
    graph = argv[argv.index("-filter_complex") + 1]
    formats = re.findall(r"\]hwdownload\[(\w+)\];\[\1\]format=pix_fmts=([^\[]*)\[", graph)
    assert [names for _, names in formats] == [downloaded, downloaded]  # for the picture and for its thumbnail
    assert argv[argv.index("-hwaccel_output_format") + 1] == "cuda"


@pytest.mark.parametrize(("device", "index"), [("cuda", "0"), ("cuda:0", "0"), ("cuda:1", "1")])
def test_the_graphics_card_that_decodes_is_the_one_asked_for(device: str, index: str) -> None:
    path = Path("a.mp4")
    argv = decode_argv(BINARY, path, _info(path), (32, 32), GRID, "squash", 1, 7, device=device)
    assert argv[argv.index("-hwaccel_device") + 1] == index
    assert argv.index("-hwaccel_device") < argv.index("-i")


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "", "cpu:0"])
def test_an_unknown_device_for_decoding_is_refused(device: str) -> None:
    with pytest.raises(UsageError, match="unknown device for decoding"):
        hardware_options(device)


@pytest.mark.parametrize("pixel_format", ["yuv422p", "yuv422p10le", "gray", "gbrp", "yuva420p", None])
def test_what_a_graphics_card_does_not_decode_is_refused_before_ffmpeg_starts(pixel_format: str | None) -> None:
    path = Path("a.mp4")
    with pytest.raises(ModelError, match=r"a\.mp4: NVDEC cannot decode h264 .*: use --decode-device cpu"):
        decode_argv(BINARY, path, _info(path, pixel_format), (32, 32), GRID, "squash", 1, 7, device="cuda")
    on_cpu = decode_argv(BINARY, path, _info(path, pixel_format), (32, 32), GRID, "squash", 1, 7)
    assert "hwdownload" not in " ".join(on_cpu)
