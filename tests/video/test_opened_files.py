"""A file read through an open descriptor is the file read by its name, in every container, whatever its suffix said."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from vidtag_cli.video.decode import VideoDecoder
from vidtag_cli.video.ffmpeg import find_ffmpeg
from vidtag_cli.video.packets import read_packets
from vidtag_cli.video.probe import probe_video

CODECS = {
    "mp4": "libx264", "mov": "mpeg4", "mkv": "libx264", "webm": "libvpx", "avi": "mpeg4", "ts": "mpeg2video",
    "mpg": "mpeg2video", "vob": "mpeg2video", "flv": "flv1", "wmv": "wmv2", "ogv": "libtheora", "mxf": "mpeg2video",
    "nut": "mpeg4", "ivf": "libvpx", "3gp": "mpeg4",
}  # fmt: skip


def write_clip(path: Path, codec: str) -> Path:
    source = "testsrc2=duration=1:rate=25:size=64x48"
    command = [str(find_ffmpeg().path), "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", source, "-c:v", codec]
    subprocess.run([*command, "-pix_fmt", "yuv420p", f"file:{path}"], check=True)
    return path


def read(path: Path, descriptor: int | None) -> tuple[object, list[tuple[int, float]], np.ndarray, np.ndarray]:
    info = probe_video(path, descriptor)
    with VideoDecoder(path, info, (8, 6)) as decoder:
        frames = list(decoder)
    times = [(frame.source_index, frame.media_time_s) for frame in frames]
    pixels = np.array([frame.rgb for frame in frames])
    return dataclasses.replace(info, descriptor=None), times, pixels, read_packets(path, info).pts


@pytest.mark.parametrize("suffix", CODECS)
def test_a_descriptor_gives_what_the_name_gives(tmp_path: Path, suffix: str) -> None:
    clip = write_clip(tmp_path / f"clip.{suffix}", CODECS[suffix])
    by_name = read(clip, None)
    descriptor = os.open(clip, os.O_RDONLY)
    try:
        os.rename(clip, tmp_path / "elsewhere")
        by_descriptor = read(clip, descriptor)
    finally:
        os.close(descriptor)
    assert by_descriptor[:2] == by_name[:2]
    assert len(by_name[1]) > 10  # some encoders leave frames out
    np.testing.assert_array_equal(by_descriptor[2], by_name[2])
    np.testing.assert_array_equal(by_descriptor[3], by_name[3])


def test_the_decoder_calls_the_file_by_its_name(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", "libx264")
    descriptor = os.open(clip, os.O_RDONLY)
    info = probe_video(clip, descriptor)
    try:
        os.truncate(clip, 10)
        with VideoDecoder(clip, info, (8, 6)) as decoder, pytest.raises(Exception, match="clip.mkv"):
            list(decoder)
    finally:
        os.close(descriptor)
    assert decoder.errors
    assert not any("/proc/" in line for line in decoder.errors)
