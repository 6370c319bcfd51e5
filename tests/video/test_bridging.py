"""Recordings whose clock starts again on the way: every frame is used, each part follows the one before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vidtag_cli.video.bridging import TimeBridge
from vidtag_cli.video.decode import Frame, VideoDecoder
from vidtag_cli.video.decode_report import DecodeReport
from vidtag_cli.video.packets import WRAP_TICKS, TimedPart, part_starts
from vidtag_cli.video.probe import probe_video

TICK_S = 1e-9
PARTS = (TimedPart(0, 40, 0), TimedPart(10, 30, 40), TimedPart(0, 20, 80))


def bridged(
    times: list[int | None], parts: tuple[TimedPart, ...] = PARTS, wraps: bool = False
) -> list[tuple[int, int]]:
    bridge: TimeBridge[int | None] = TimeBridge(parts, wraps)
    placed = [item for time in times for item in bridge.add(time, time)] + bridge.finish()
    return [(time, part) for time, part, _ in placed]


def test_parts_follow_each_other() -> None:
    times = [0, 10, 20, 30, 40, 10, 20, 30, 0, 10, 20]
    parts = [0] * 5 + [1] * 3 + [2] * 3
    assert bridged(times) == list(zip(range(0, 110, 10), parts, strict=True))


def test_a_part_may_be_a_single_frame() -> None:
    assert bridged([0, 10, 40, 30]) == [(0, 0), (10, 0), (40, 0), (70, 1)]


def test_a_lone_time_that_goes_back_is_left_out() -> None:
    bridge: TimeBridge[str] = TimeBridge(PARTS, False)
    placed = [item for time, name in ((0, "a"), (30, "b"), (10, "stray"), (40, "c")) for item in bridge.add(time, name)]
    assert [name for _, _, name in placed] == ["a", "b", "c"]
    assert bridge.misplaced == 1
    assert bridge.add(None, "no time") == []
    assert bridge.misplaced == 2


def test_a_clock_that_begins_anew_goes_on() -> None:
    parts = (TimedPart(WRAP_TICKS - 20, WRAP_TICKS - 10, 0), TimedPart(0, 10, WRAP_TICKS, is_continued=True))
    times = bridged([WRAP_TICKS - 20, WRAP_TICKS - 10, 0, 10], parts, wraps=True)
    assert times == [(WRAP_TICKS + ticks, part) for ticks, part in ((-20, 0), (-10, 0), (0, 1), (10, 1))]


@pytest.mark.parametrize(
    ("times", "wraps", "starts"),
    [
        ([0, 1, 2, 3], False, [0]),
        ([0, 1, 2, 0, 1, 2], False, [0, 3]),
        ([5, 6, 7, 1, 8, 9], False, [0]),  # one time is wrong
        ([5, 6, 7, None, 1, 2, 3, 4], False, [0, 4]),
        ([0, WRAP_TICKS - 5, WRAP_TICKS - 4], True, [0, 1]),  # what a demuxer makes of a clock set back by a little
        ([0, WRAP_TICKS - 5, WRAP_TICKS - 4], False, [0]),
        ([WRAP_TICKS - 1, 0, 1], True, [0, 1]),
    ],
)
def test_where_a_clock_starts_again(times: list[int | None], wraps: bool, starts: list[int]) -> None:
    assert part_starts(times, wraps) == starts


def test_guessed_decoding_times_may_go_back_as_far_as_pictures_are_reordered() -> None:
    assert part_starts([0, 160, 80, 40, 120, 320, 240], False, 17) == [0]
    assert part_starts([0, 160, 320, 240, 200], False, 17) == [0]
    assert part_starts([*range(0, 800, 40), *range(0, 800, 40)], False, 17) == [0, 20]


def stream(
    run_ffmpeg: Callable[..., bytes], offset_s: float, container: str = "mpegts", path: Path | None = None
) -> bytes:
    codec = ("-c:v", "mpeg2video", "-bf", 2) if container == "vob" else ("-c:v", "libx264", "-g", 10)
    written = run_ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10", "-frames:v", 20, *codec,
        "-output_ts_offset", offset_s, "-f", container, path or "pipe:1",
    )  # fmt: skip
    return written if path is None else path.read_bytes()


def read(path: Path, fps: float | None = None, find_cuts: bool = False) -> tuple[list[Frame], DecodeReport]:
    with VideoDecoder(path, probe_video(path), (64, 48), fps, find_cuts=find_cuts) as decoder:
        frames = list(decoder)
    assert decoder.errors == ()
    return frames, decoder.report


@pytest.mark.parametrize("container", ["mpegts", "vob", "matroska"])
@pytest.mark.parametrize("find_cuts", [False, True])
def test_joined_files_give_all_frames_each_part_a_shot(
    clips: Path, run_ffmpeg: Callable[..., bytes], container: str, find_cuts: bool
) -> None:
    path = clips / f"joined_{find_cuts}.{container}"
    parts = 2 if container == "matroska" else 3  # libavformat itself reads no third one
    path.write_bytes(stream(run_ffmpeg, 0, container, clips / f"part_{find_cuts}.{container}") * parts)
    frames, report = read(path, find_cuts=find_cuts)
    assert len(frames) == 20 * parts
    assert np.diff([frame.media_time_s for frame in frames]) == pytest.approx(0.1, abs=0.001)
    assert [frame.shot for frame in frames] == [number // 20 for number in range(20 * parts)]
    assert [frame.source_index for frame in frames] == list(range(20 * parts))
    assert all(np.array_equal(frame.rgb, frames[number % 20].rgb) for number, frame in enumerate(frames))
    assert report.restarts == parts - 1
    assert f"start again ({parts - 1} times)" in " ".join(report.notes)
    assert report.is_complete


@pytest.mark.parametrize("offsets_s", [(5, 2), (3600, 0), (0, 5, 0), (40_000, 3)])
def test_a_camera_that_restarts_is_sampled_as_one_video(
    clips: Path, run_ffmpeg: Callable[..., bytes], offsets_s: tuple[float, ...]
) -> None:
    path = clips / f"restart{'_'.join(map(str, offsets_s))}.ts"
    path.write_bytes(b"".join(stream(run_ffmpeg, offset_s) for offset_s in offsets_s))
    frames, report = read(path)
    assert len(frames) == 20 * len(offsets_s)
    assert report.restarts == 1
    times = [frame.media_time_s for frame in frames]
    steps = np.floor((np.array(times) - times[0] + 0.001) * 2.0)
    sampled, _ = read(path, fps=2.0)
    assert [frame.source_index for frame in sampled] == np.flatnonzero(np.diff(steps, prepend=-1.0) > 0).tolist()


def test_a_clock_at_the_end_of_its_range_goes_on(clips: Path, run_ffmpeg: Callable[..., bytes]) -> None:
    path = clips / "wraps.ts"
    path.write_bytes(stream(run_ffmpeg, WRAP_TICKS / 90_000 - 2.4))
    frames, report = read(path)
    assert np.diff([frame.media_time_s for frame in frames]) == pytest.approx(0.1, abs=TICK_S)
    assert {frame.shot for frame in frames} == {0}
    assert report.restarts == 0


def test_one_frame_out_of_place_starts_nothing(media: Path) -> None:
    """After the frame at 7007 ticks comes one at 4505, and then the next: it is left out and reported."""
    path = media / "street" / "london_euston_hevc_vfr.mp4"
    with VideoDecoder(path, probe_video(path), (8, 6)) as decoder:
        assert len(list(decoder)) == 145
    assert decoder.report.restarts == 0
    assert "does not follow" in decoder.errors[0]
