from __future__ import annotations

import pytest

from vidtag_cli.benchmark.timing import Stopwatch, Timing, core_seconds, timings


def test_median_and_95th_percentile_are_rounds_that_were_seen() -> None:
    timing = Timing("decode", 20, (5.0, 1.0, 2.0, 3.0, 4.0), (1.0, 1.0, 2.0, 2.0, 9.0))
    assert timing.median_s() == 3.0
    assert timing.p95_s() == 5.0
    assert timing.median_core_s() == 2.0
    assert timing.frames_per_second() == pytest.approx(20 / 3.0)
    assert Timing("x", 1, tuple(float(n) for n in range(1, 101)), ()).p95_s() == 95.0


def test_a_stage_that_took_no_time_has_no_rate() -> None:
    assert Timing("tempgeo", 5, (0.0,), (0.0,)).frames_per_second() is None


def test_a_stopwatch_adds_up_what_has_one_name() -> None:
    watch = Stopwatch()
    for _ in range(3):
        with watch.time("search"):
            sum(range(20_000))
    with watch.time("write"):
        pass
    assert list(watch.wall_s) == list(watch.core_s) == ["search", "write"]
    assert watch.wall_s["search"] > 0.0
    measured = timings([watch, watch], 7)
    assert measured["search"].wall_s == (watch.wall_s["search"],) * 2
    assert measured["search"].frames == 7


def test_processor_seconds_only_grow() -> None:
    before = core_seconds()
    sum(range(100_000))
    assert core_seconds() >= before
