"""Benchmarks as JSON: written by one run, read again by ``--against`` and compared.

A rank test over the rounds says whether a stage is faster, so that noise is not taken for progress.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from math import comb
from pathlib import Path
from typing import Any, Literal

from vidtag_cli.benchmark.decoding import DecodeBenchmark
from vidtag_cli.benchmark.stages import Benchmark
from vidtag_cli.benchmark.timing import Timing
from vidtag_cli.errors import InputError, UsageError

SCHEMA = "vidtag-bench/3"
DECODE_SCHEMA = "vidtag-bench-decode/1"

_SAME_WORK = (
    "video", "model", "engine", "device", "precision", "threads", "gallery_points", "gallery_sha256", "batch_frames",
    "sampling_fps", "frames",
)  # fmt: skip
"""What must agree for two runs to be comparable. The machine may differ: that is often the question, and is said."""


SIGNIFICANCE = 0.05

RULE = (
    "faster or slower where a two-sided Mann-Whitney test over the wall times of the rounds gives p < "
    f"{SIGNIFICANCE:g}, else same; it takes four rounds on either side to get below that"
)

Verdict = Literal["faster", "slower", "same"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One stage now against the same stage before: ``speedup`` is the saved median / the median now."""

    stage: str
    verdict: Verdict
    p_value: float
    speedup: float
    now_min_max_s: tuple[float, float]
    saved_min_max_s: tuple[float, float]


def bench_record(benchmarks: Sequence[Benchmark], machine: dict[str, Any]) -> dict[str, Any]:
    """Return all runs of a sweep as a JSON object."""
    return {"schema": SCHEMA, "machine": machine, "runs": [_run_record(benchmark) for benchmark in benchmarks]}


def decode_record(benchmark: DecodeBenchmark, machine: dict[str, Any]) -> dict[str, Any]:
    """Return a benchmark of the decoder as a JSON object."""
    return {
        "schema": DECODE_SCHEMA,
        "machine": machine,
        "video": benchmark.video,
        "video_duration_s": benchmark.video_duration_s,
        "threads": benchmark.threads,
        "floor": _timing_record(benchmark.floor),
        "cases": {
            timing.name: {**_timing_record(timing), "core_ratios": list(benchmark.core_ratios(timing))}
            for timing in benchmark.cases
        },
    }


def read_bench_record(path: Path) -> dict[str, Any]:
    """Return a saved record; raises InputError when it cannot be read or is something else."""
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a saved benchmark ({error})") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise InputError(f"{path}: is not a benchmark saved with this version's 'vidtag bench --json' ({SCHEMA})")
    if not (isinstance(record.get("machine"), dict) and all(map(_is_run, _listed(record.get("runs"))))):
        raise InputError(f"{path}: is damaged: a run without its times; save it again with 'vidtag bench --json'")
    return record


def changes_of_machine(now: dict[str, Any], saved: dict[str, Any]) -> list[str]:
    """Return in words what of the machine and its versions is not as it was when a run was saved."""
    before, after = ({**record, **record.get("packages", {})} for record in (saved, now))
    keys = [key for key in {**before, **after} if key != "packages" and before.get(key) != after.get(key)]
    return [f"{key}: {_in_words(before.get(key))} then, {_in_words(after.get(key))} now" for key in keys]


def compare_with_saved(benchmark: Benchmark, saved: dict[str, Any]) -> list[Comparison]:
    """Return every stage beside that of the saved run of the same work; raises UsageError when there is none."""
    now = _run_record(benchmark)
    same = [run for run in saved["runs"] if all(run.get(key) == now[key] for key in _SAME_WORK)]
    if not same:
        nearest: dict[str, Any] = min(saved["runs"], key=lambda run: len(_differences(run, now)), default={})
        differing = "; ".join(_differences(nearest, now))
        raise UsageError(f"the saved benchmark has no run of the same work ({differing}): run it with the same options")
    pairs = {**{stage: now["stages"][stage] for stage in now["stages"]}, "end to end": now["end_to_end"]}
    before = {**same[0]["stages"], "end to end": same[0]["end_to_end"]}
    return [compare(stage, pairs[stage]["wall_s"], before[stage]["wall_s"]) for stage in pairs if stage in before]


def compare(stage: str, now_s: Sequence[float], saved_s: Sequence[float]) -> Comparison:
    """Return whether the wall seconds of the rounds now are smaller than those saved, by :data:`RULE`."""
    p_value = mann_whitney_p(now_s, saved_s)
    now_median_s, saved_median_s = statistics.median(now_s), statistics.median(saved_s)
    verdict: Verdict = "same"
    if p_value < SIGNIFICANCE:
        verdict = "faster" if now_median_s < saved_median_s else "slower"
    speedup = saved_median_s / now_median_s if now_median_s > 0.0 else 1.0
    return Comparison(stage, verdict, p_value, speedup, (min(now_s), max(now_s)), (min(saved_s), max(saved_s)))


def mann_whitney_p(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the exact two-sided p-value of the Mann-Whitney test; a tie counts half a win, rounded to the middle."""
    wins = sum(1.0 if a < b else 0.5 if a == b else 0.0 for a in ours for b in theirs)
    pairs = len(ours) * len(theirs)
    extreme = int(min(wins, pairs - wins) + 0.5)
    ways = sum(_orders(len(ours), len(theirs), u) for u in range(extreme + 1))
    return min(1.0, 2.0 * ways / comb(len(ours) + len(theirs), len(ours)))


@cache
def _orders(ours: int, theirs: int, wins: int) -> int:
    """Return in how many orders of two samples exactly ``wins`` pairs are won: the recursion on who comes last."""
    if wins < 0:
        return 0
    if ours == 0 or theirs == 0:
        return int(wins == 0)
    return _orders(ours - 1, theirs, wins) + _orders(ours, theirs - 1, wins - ours)


def comparison_record(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return comparisons as a JSON object, with the rule they follow."""
    return {"rule": RULE, "stages": {comparison.stage: asdict(comparison) for comparison in comparisons}}


def _run_record(benchmark: Benchmark) -> dict[str, Any]:
    return {
        **{key: getattr(benchmark, key) for key in _SAME_WORK},
        "video_duration_s": benchmark.video_duration_s,
        "rounds": len(benchmark.end_to_end.wall_s),
        "stages": {stage: _timing_record(timing) for stage, timing in benchmark.stages.items()},
        "end_to_end": _timing_record(benchmark.end_to_end),
        "real_time_factor": benchmark.real_time_factor(),
        "overlap_ratio": benchmark.overlap_ratio(),
        "peak_memory_bytes": benchmark.peak_memory_bytes,
        "device_memory_bytes": benchmark.device_memory_bytes,
    }


def _timing_record(timing: Timing) -> dict[str, Any]:
    return {
        "frames": timing.frames,
        "median_s": timing.median_s(),
        "p95_s": timing.p95_s(),
        "median_core_s": timing.median_core_s(),
        "frames_per_second": timing.frames_per_second(),
        "wall_s": list(timing.wall_s),
        "core_s": list(timing.core_s),
    }


def _differences(run: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [f"{key} {run.get(key)} then, {now[key]} now" for key in _SAME_WORK if run.get(key) != now[key]]


def _in_words(value: Any) -> str:
    if isinstance(value, list):  # graphics cards
        names = [str(entry.get("name") if isinstance(entry, dict) else entry) for entry in value]
        return ", ".join(names) or "none"
    return "none" if value is None else str(value)


def _listed(value: Any) -> list[Any]:
    """Return a list as it is, and for anything else one that holds no run."""
    return value if isinstance(value, list) else [None]


def _is_run(run: Any) -> bool:
    if not isinstance(run, dict) or not isinstance(run.get("stages"), dict):
        return False
    return all(_has_times(timing) for timing in (*run["stages"].values(), run.get("end_to_end")))


def _has_times(timing: Any) -> bool:
    times_s = timing.get("wall_s") if isinstance(timing, dict) else None
    return isinstance(times_s, list) and len(times_s) > 0 and all(map(_is_duration, times_s))


def _is_duration(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value < math.inf
