from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_video import write_video

from vidtag_cli.benchmark.decoding import DecodeCase, run_decode_benchmark
from vidtag_cli.errors import VideoError


def test_every_way_is_timed_in_every_round_beside_the_floor(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", seconds=3.0, fps=5)
    cases = (DecodeCase("exact", None), DecodeCase("exact", 1.0), DecodeCase("keyframes", 1.0))
    seen: list[tuple[float, float | None]] = []
    benchmark = run_decode_benchmark(clip, 2, cases=cases, progress=lambda *at: seen.append(at))
    assert [(timing.name, timing.frames) for timing in benchmark.cases] == [
        ("exact all", 15), ("exact 1 fps", 3), ("keyframes 1 fps", 1),
    ]  # fmt: skip
    for timing in (benchmark.floor, *benchmark.cases):
        assert len(timing.wall_s) == len(timing.core_s) == 2
        assert min(timing.core_s) > 0.0  # ffmpeg's seconds are in it
    assert benchmark.core_ratios(benchmark.floor) == (1.0, 1.0)
    assert benchmark.floor.frames == 15
    assert seen[-1] == (3, 3)


def test_the_floor_needs_a_video_too(tmp_path: Path) -> None:
    damaged = tmp_path / "x.mp4"
    damaged.write_bytes(b"no video")
    with pytest.raises(VideoError):
        run_decode_benchmark(damaged, 1)
