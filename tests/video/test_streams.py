"""Several video streams in one file: the moving, default one is located, as ffmpeg chooses, or the one asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vidtag_cli.errors import UsageError
from vidtag_cli.video.decode import VideoDecoder
from vidtag_cli.video.probe import probe_video

MOVING = ("-f", "lavfi", "-i", "testsrc2=size=32x24:rate=10:duration=1")
LARGE = ("-f", "lavfi", "-i", "color=red:size=64x48:rate=10:duration=1")
STILL = ("-f", "lavfi", "-i", "color=red:size=96x64:rate=10:duration=0.1")
MAP = ("-map", 0, "-map", 1, "-c:v", "mpeg4")

# name: inputs and options, and the index of the stream that is right
FILES = {
    "still_second.mp4": ((*MOVING, *STILL, *MAP), 0),
    "still_first.mp4": ((*STILL, *MOVING, *MAP), 1),
    "still_first.mkv": ((*STILL, *MOVING, *MAP), 1),
    "still_default.mkv": ((*STILL, *MOVING, *MAP, "-disposition:v:0", "default", "-disposition:v:1", "0"), 1),
    "default_first.mkv": ((*MOVING, *LARGE, *MAP), 0),
    "default_second.mkv": ((*MOVING, *LARGE, *MAP, "-disposition:v:0", "0", "-disposition:v:1", "default"), 1),
    "none_default.mkv": ((*MOVING, *LARGE, *MAP, "-default_mode", "passthrough", "-disposition:v", "0"), 1),
    "twins.mkv": ((*MOVING, *MOVING, *MAP, "-disposition:v", "default"), 0),
}


@pytest.mark.parametrize("name", FILES)
def test_the_right_stream_is_chosen(clips: Path, run_ffmpeg: Callable[..., bytes], name: str) -> None:
    path, (options, right) = clips / name, FILES[name]
    run_ffmpeg(*options, path)
    info = probe_video(path)
    assert info.stream_index == right
    assert [stream.index for stream in info.other_streams] == [1 - right]
    assert f"stream {right} (mpeg4" in (info.stream_choice or "")
    assert f"stream {1 - right} (mpeg4" in (info.stream_choice or "")
    with VideoDecoder(path, info, (8, 6)) as decoder:
        assert len(list(decoder)) == 10


def test_another_stream_can_be_asked_for(clips: Path, run_ffmpeg: Callable[..., bytes]) -> None:
    path = clips / "with_sound.mkv"
    run_ffmpeg(*MOVING, "-f", "lavfi", "-i", "sine=duration=1", *LARGE, "-map", 1, "-map", 0, "-map", 2,
               "-c:v", "mpeg4", path)  # fmt: skip
    assert probe_video(path).stream_index == 1
    info = probe_video(path, stream_index=2)
    assert (info.stream_index, info.video_stream, info.display_size_wh) == (2, 1, (64, 48))
    with VideoDecoder(path, info, (4, 4)) as decoder:
        assert next(iter(decoder)).rgb[..., 1:].max() < 30  # red
    for index in (0, 3):
        with pytest.raises(UsageError, match=rf"--stream {index}: .*it has stream 1 .*stream 2"):
            probe_video(path, stream_index=index)


def test_the_only_stream_is_no_choice(lossless_mov: Path) -> None:
    assert probe_video(lossless_mov).stream_choice is None
