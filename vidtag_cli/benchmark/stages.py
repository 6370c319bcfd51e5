"""Frames per second of every stage of locating one video, measured on whole runs."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vidtag_cli.pipeline.locate import LocateOptions, locate_video
from vidtag_cli.pipeline.session import Session
from vidtag_cli.writers.formats import FORMATS, render_track

STAGES = ("decode", "encode", "tempgeo", "search", "refine", "write")
"""In the order a frame passes them; ``search`` holds both searches and the posterior."""


@dataclass(frozen=True, slots=True)
class StageTiming:
    """Seconds one stage took in each counted round."""

    stage: str
    seconds: tuple[float, ...]

    def median_s(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What a benchmark found; ``real_time_factor`` is seconds of video per second of wall time, of the median round."""

    video: str
    model: str
    frames: int
    video_duration_s: float | None
    rounds: int
    stages: tuple[StageTiming, ...]
    end_to_end: StageTiming
    peak_memory_bytes: int
    machine: dict[str, str]

    def frames_per_second(self, timing: StageTiming) -> float:
        """Return frames per second of the median round."""
        return self.frames / timing.median_s() if timing.median_s() > 0.0 else float("inf")

    def real_time_factor(self) -> float | None:
        return None if self.video_duration_s is None else self.video_duration_s / self.end_to_end.median_s()


def run_benchmark(
    path: Path,
    session: Session,
    options: LocateOptions,
    rounds: int,
    progress: Callable[[float, float | None], None] | None = None,
) -> Benchmark:
    """Locate a video ``rounds`` times after one round that is not counted, and return the times of every stage.

    All stages run on the CPU and return when they are done, so a stage's clock covers its work.
    """
    seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}
    totals: list[float] = []
    for number in range(rounds + 1):
        began = time.perf_counter()
        result = locate_video(path, session, options)
        written = time.perf_counter()
        for output_format in FORMATS.values():
            render_track(result.track, output_format)
        ended = time.perf_counter()
        if number > 0:
            totals.append(ended - began)
            for stage, spent_s in {**result.stage_seconds, "write": ended - written}.items():
                seconds[stage].append(spent_s)
        if progress is not None:
            progress(number + 1, rounds + 1)
    return Benchmark(
        video=path.name,
        model=session.bundle.name,
        frames=len(result.track.points),
        video_duration_s=result.video.duration_s,
        rounds=rounds,
        stages=tuple(StageTiming(stage, tuple(values)) for stage, values in seconds.items()),
        end_to_end=StageTiming("end to end", tuple(totals)),
        peak_memory_bytes=_peak_memory_bytes(),
        machine=machine_record(),
    )


def machine_record() -> dict[str, str]:
    """Return what the figures depend on: processor, cores this process may use, versions."""
    record = {
        "processor": _processor_name(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for package in ("onnxruntime", "onnxruntime-gpu", "faiss-cpu", "numpy"):
        try:
            record[package] = version(package)
        except PackageNotFoundError:
            continue
    return record


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _peak_memory_bytes() -> int:
    """Return the largest resident memory so far of this process; ffmpeg's own, a few ten megabytes, is not in it."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
