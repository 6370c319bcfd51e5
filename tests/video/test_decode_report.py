"""Whether an input was complete, and the limits of what one may cost."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from vidtag_cli.errors import InputError, VideoError
from vidtag_cli.video.decode import VideoDecoder
from vidtag_cli.video.decode_report import DecodeReport
from vidtag_cli.video.limits import DecodeLimits
from vidtag_cli.video.probe import probe_video

SOURCE = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=6")
H264 = ("-c:v", "libx264", "-g", 10)
# name: codec and options, and what says that half of the file is missing
CUT = {
    "a.mp4": ((*H264, "-movflags", "+faststart"), "frames are not in the file"),
    "fragments.mp4": ((*H264, "-movflags", "frag_keyframe+empty_moov"), "bytes too early"),
    "a.ts": (H264, "bytes too early|errors"),
    "a.mkv": (H264, "errors"),
    "a.avi": (("-c:v", "mpeg4"), "errors"),
    "a.flv": (H264, "the pictures end at"),
    "a.wmv": (("-c:v", "wmv2"), "errors"),
}
WHOLE = {
    "vp8.webm": ("-c:v", "libvpx", "-auto-alt-ref", 1, "-lag-in-frames", 10),
    "mpeg2.mxf": ("-c:v", "mpeg2video"),
    "dv.mov": ("-c:v", "mpeg4", "-video_track_timescale", 90000),
    "fields.ts": ("-c:v", "libx264", "-flags", "+ildct+ilme"),
    "theora.ogv": ("-c:v", "libtheora"),
    "mpeg2.vob": ("-c:v", "mpeg2video"),
}


def report_of(path: Path) -> DecodeReport:
    with VideoDecoder(path, probe_video(path), (8, 6)) as decoder:
        list(decoder)
    return decoder.report


@pytest.mark.parametrize("name", CUT)
def test_a_file_cut_short_says_so(clips: Path, run_ffmpeg: Callable[..., bytes], name: str) -> None:
    whole, (options, message) = clips / f"whole_{name}", CUT[name]
    run_ffmpeg(*SOURCE, *options, whole)
    report = report_of(whole)
    assert report.is_complete, report.missing
    assert report.frames_decoded == report.frames_in_file == 60
    cut = clips / f"cut_{name}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2 + 1])
    report = report_of(cut)
    assert not report.is_complete
    assert re.search(message, "; ".join(report.missing)), report.missing


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_is_complete(clips: Path, run_ffmpeg: Callable[..., bytes], name: str) -> None:
    path = clips / f"complete_{name}"
    run_ffmpeg(*SOURCE, *(("-vf", "fps=25") if name == "mpeg2.mxf" else ()), *WHOLE[name], path)
    assert report_of(path).missing == ()


def test_the_report_is_known_after_the_last_frame(lossless_mov: Path) -> None:
    with VideoDecoder(lossless_mov, probe_video(lossless_mov), (8, 6)) as decoder:
        next(iter(decoder))
        with pytest.raises(ValueError, match="after its last frame"):
            _ = decoder.report


def test_a_large_picture_is_refused_before_it_is_decoded(clips: Path, run_ffmpeg: Callable[..., bytes]) -> None:
    path, size_px = clips / "large.mkv", 600
    run_ffmpeg("-f", "lavfi", "-i", f"color=red:size={size_px}x{size_px}:rate=1:duration=1", "-pix_fmt", "rgb24",
               "-c:v", "png", path)  # fmt: skip
    narrow, wide = DecodeLimits(max_pixels=size_px * size_px // 2), DecodeLimits(max_pixels=size_px * size_px)
    with pytest.raises(VideoError, match=r"limit of 180,000 .*--max-pixels"):
        probe_video(path, limits=narrow)
    info = probe_video(path, limits=wide)
    with pytest.raises(VideoError, match="no frame could be decoded"):
        list(VideoDecoder(path, info, (8, 6), limits=narrow))  # the limit holds for ffmpeg too
    assert len(list(VideoDecoder(path, info, (8, 6), limits=wide))) == 1


def test_a_hundred_thousand_frames_a_second_are_refused(clips: Path, run_ffmpeg: Callable[..., bytes]) -> None:
    path = clips / "fast.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=16x16:rate=100000:duration=0.002", "-c:v", "mpeg4", "-r", 50_000,
               "-video_track_timescale", 100_000, path)  # fmt: skip
    info = probe_video(path)
    with (
        pytest.raises(VideoError, match=r"frames a second.*2,000.*--max-frame-rate"),
        VideoDecoder(path, info, (8, 6)) as decoder,
    ):
        list(decoder)
    limits = DecodeLimits(max_frame_rate_fps=200_000.0)
    with VideoDecoder(path, info, (8, 6), limits=limits) as decoder:
        assert len(list(decoder)) > 50


def test_an_input_that_becomes_a_pipe_is_refused_and_not_waited_for(lossless_mov: Path, tmp_path: Path) -> None:
    path = tmp_path / "clip.mov"
    path.write_bytes(lossless_mov.read_bytes())
    info = probe_video(path)
    path.unlink()
    os.mkfifo(path)
    began = time.monotonic()
    with pytest.raises(InputError, match="not a regular file"), VideoDecoder(path, info, (8, 6)) as decoder:
        list(decoder)
    assert time.monotonic() - began < 5.0


def test_an_opened_file_stays_the_input_whatever_takes_its_name(lossless_mov: Path, tmp_path: Path) -> None:
    path = tmp_path / "clip.mov"
    path.write_bytes(lossless_mov.read_bytes())
    with path.open("rb") as file:
        info = probe_video(path, file.fileno())
        path.unlink()
        os.mkfifo(path)
        with VideoDecoder(path, info, (8, 6)) as decoder:
            assert len(list(decoder)) == 5


def test_reading_the_packets_can_be_left(lossless_mov: Path) -> None:
    decoder = VideoDecoder(lossless_mov, replace(probe_video(lossless_mov)), (8, 6))
    closing = threading.Thread(target=decoder.close)
    frames = iter(decoder)
    closing.start()
    closing.join()
    assert list(frames) == []
