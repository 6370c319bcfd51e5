from __future__ import annotations

import os
import re
from fractions import Fraction
from pathlib import Path

import pytest

from vidtag_cli.errors import ModelError, UsageError
from vidtag_cli.video import ffmpeg  # the module, not the library
from vidtag_cli.video.info import VideoInfo
from vidtag_cli.video.orientation import Orientation

VERSION_5_0 = "ffmpeg version 5.0.1 Copyright\\nconfiguration: --x\\nlibavutil      57. 17.100 / 57. 17.100"
VERSION_5_1 = "ffmpeg version N-123-gabc Copyright\\nconfiguration: --x\\nlibavutil      57. 28.100 / 57. 28.100"


@pytest.fixture
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ffmpeg.BINARY_VARIABLE, raising=False)


def _script(folder: Path, answer: str) -> Path:
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\nprintf '{answer}\\n'\n")
    path.chmod(0o755)
    return path


def test_variable_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = _script(tmp_path, VERSION_5_1)
    monkeypatch.setenv(ffmpeg.BINARY_VARIABLE, str(named))
    found = ffmpeg.find_ffmpeg()
    assert (found.path, found.version, found.origin) == (named, "N-123-gabc", "$VIDTAG_FFMPEG")
    assert len(found.configuration_sha256) == 64


@pytest.mark.parametrize(("answer", "why"), [(VERSION_5_0, "too old"), ("hello", "is not ffmpeg")])
def test_a_named_binary_must_be_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, why: str) -> None:
    monkeypatch.setenv(ffmpeg.BINARY_VARIABLE, str(_script(tmp_path, answer)))
    with pytest.raises(ModelError, match=f"{why}.*install ffmpeg 5.1 or later"):
        ffmpeg.find_ffmpeg()


def test_a_named_binary_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ffmpeg.BINARY_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(ModelError, match="does not run"):
        ffmpeg.find_ffmpeg()


@pytest.mark.usefixtures("no_variable")
def test_system_comes_before_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(_script(tmp_path, VERSION_5_1).parent), prepend=os.pathsep)
    assert ffmpeg.find_ffmpeg().origin == "PATH"


@pytest.mark.usefixtures("no_variable")
def test_an_old_system_ffmpeg_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(_script(tmp_path, VERSION_5_0).parent), prepend=os.pathsep)
    assert ffmpeg.find_ffmpeg().origin == "imageio-ffmpeg"


@pytest.mark.usefixtures("no_variable")
def test_without_any_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_binary() -> str:
        raise RuntimeError("none")

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(ffmpeg.imageio_ffmpeg, "get_ffmpeg_exe", no_binary)
    with pytest.raises(ModelError, match="pip install imageio-ffmpeg"):
        ffmpeg.find_ffmpeg()


def test_reports_and_colours_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFREPORT", "file=/nowhere.log")
    monkeypatch.setenv("AV_LOG_FORCE_COLOR", "1")
    environment = ffmpeg.ffmpeg_environment()
    assert "FFREPORT" not in environment
    assert "AV_LOG_FORCE_COLOR" not in environment


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


BINARY = ffmpeg.FfmpegBinary(Path("/usr/bin/ffmpeg"), "PATH", "5.1", "")


def test_command_line_is_safe_for_evidence() -> None:
    path = Path("-a [b] %03d.mp4")
    argv = ffmpeg.decode_argv(BINARY, path, _info(path), (32, 32), 1.0, "squash", 1, 7)
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
    argv = ffmpeg.decode_argv(
        BINARY, path, _info(path, pixel_format), (32, 32), 1.0, "squash", 1, 7, device="cuda", thumbnails_fd=8
    )
    graph = argv[argv.index("-filter_complex") + 1]
    formats = re.findall(r"\]hwdownload\[(\w+)\];\[\1\]format=pix_fmts=([^\[]*)\[", graph)
    assert [names for _, names in formats] == [downloaded, downloaded]  # for the picture and for its thumbnail
    assert argv[argv.index("-hwaccel_output_format") + 1] == "cuda"


@pytest.mark.parametrize(("device", "index"), [("cuda", "0"), ("cuda:0", "0"), ("cuda:1", "1")])
def test_the_graphics_card_that_decodes_is_the_one_asked_for(device: str, index: str) -> None:
    path = Path("a.mp4")
    argv = ffmpeg.decode_argv(BINARY, path, _info(path), (32, 32), 1.0, "squash", 1, 7, device=device)
    assert argv[argv.index("-hwaccel_device") + 1] == index
    assert argv.index("-hwaccel_device") < argv.index("-i")


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "", "cpu:0"])
def test_an_unknown_device_for_decoding_is_refused(device: str) -> None:
    with pytest.raises(UsageError, match="unknown device for decoding"):
        ffmpeg.hardware_options(device)


@pytest.mark.parametrize("pixel_format", ["yuv422p", "yuv422p10le", "gray", "gbrp", "yuva420p", None])
def test_what_a_graphics_card_does_not_decode_is_refused_before_ffmpeg_starts(pixel_format: str | None) -> None:
    path = Path("a.mp4")
    with pytest.raises(ModelError, match=r"a\.mp4: NVDEC cannot decode h264 .*: use --decode-device cpu"):
        ffmpeg.decode_argv(BINARY, path, _info(path, pixel_format), (32, 32), 1.0, "squash", 1, 7, device="cuda")
    on_cpu = ffmpeg.decode_argv(BINARY, path, _info(path, pixel_format), (32, 32), 1.0, "squash", 1, 7)
    assert "hwdownload" not in " ".join(on_cpu)
