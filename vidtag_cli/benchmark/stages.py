"""How fast one video is located: every stage by itself, and all of them together as a user runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from vidtag_cli.benchmark.machine import device_memory_bytes
from vidtag_cli.benchmark.timing import Stopwatch, Timing, timings
from vidtag_cli.engines.base import Engine
from vidtag_cli.engines.peak_memory import PeakMemory
from vidtag_cli.gallery.store import EMBEDDINGS_FILE
from vidtag_cli.pipeline.locate import (
    LocateOptions,
    embed_frames,
    encode_batches,
    locate_video,
    open_decoder,
    sampling_rate_fps,
)
from vidtag_cli.pipeline.session import FRAME_ENCODERS, Session
from vidtag_cli.pipeline.uncertainty import estimate_points
from vidtag_cli.pipeline.windows import join_frames
from vidtag_cli.track import Track
from vidtag_cli.video.batches import frame_batches
from vidtag_cli.video.info import VideoInfo
from vidtag_cli.video.probe import probe_video
from vidtag_cli.writers.formats import FORMATS, render_track

STAGES = ("decode", "encode", "tempgeo", "search", "refine", "write")
"""In the order a frame passes them. ``decode`` drops, scales and converts frames too, so there is no stage of
preprocessing; ``search`` holds both searches, the posterior and the radii.
"""

STAGE_OF_GRAPH = {**dict.fromkeys(FRAME_ENCODERS.values(), "encode"), "tempgeo": "tempgeo", "georefiner": "refine"}

END_TO_END = "end to end"

SIDE_BY_SIDE = (("decode",), ("encode",), ("tempgeo", "search", "refine"))
"""Which stages run at the same time as which: each group is one process or thread of ``locate_video``."""

MAX_FRAMES = 512
"""Frames whose stages are timed by themselves: their pixels lie in memory together, 77 MB at 224 x 224."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What a benchmark found for one engine and batch size; the warm-up round is in none of the figures.

    ``device``, ``precision`` and ``threads`` are those of the engine that encodes frames, as it says itself;
    ``gallery_sha256`` is that of the embeddings searched. ``device_memory_bytes`` is the largest use that the driver
    reported at the end of a round, None without a driver.
    """

    video: str
    video_duration_s: float | None
    model: str
    engine: str
    device: str
    precision: str
    threads: int | None
    gallery_points: int
    gallery_sha256: str
    batch_frames: int
    sampling_fps: float | None
    frames: int
    stages: dict[str, Timing]
    end_to_end: Timing
    peak_memory_bytes: int
    device_memory_bytes: int | None

    def real_time_factor(self) -> float | None:
        """Return seconds of video per second of wall time of the median round, None when the video hides its length."""
        return None if self.video_duration_s is None else self.video_duration_s / self.end_to_end.median_s()

    def overlap_ratio(self) -> float | None:
        """Return wall time together / wall time of the slowest group of stages by itself: 1 is a perfect overlap.

        None when the stages were timed on a part of the frames only.
        """
        if any(timing.frames != self.end_to_end.frames for timing in self.stages.values()):
            return None
        slowest = max(sum(self.stages[stage].median_s() for stage in group) for group in SIDE_BY_SIDE)
        return self.end_to_end.median_s() / slowest


def run_benchmark(
    path: Path,
    session: Session,
    options: LocateOptions,
    rounds: int,
    engine: str,
    progress: Callable[[float, float | None], None] | None = None,
) -> Benchmark:
    """Time a video ``rounds`` times after a round that is not counted: by stages, then as a whole, in turns."""
    info = probe_video(path)
    watches: list[Stopwatch] = []
    device_bytes: list[int] = []
    frames = staged_frames = 0
    with PeakMemory() as memory:
        for number in range(rounds + 1):
            watch = Stopwatch()
            staged_frames = _time_stages(info, session, options, watch)
            with watch.time(END_TO_END):
                track = locate_video(probe_video(path), session, options).track
                _render(track)
            frames = len(track.points)
            device_bytes += [used] if (used := device_memory_bytes()) is not None else []
            watches += [watch] if number > 0 else []
            if progress is not None:
                progress(number + 1, rounds + 1)
    measured = timings(watches, staged_frames)
    whole = measured.pop(END_TO_END)
    runs_on = session.engines[FRAME_ENCODERS[session.bundle.kind]].describe()
    return Benchmark(
        video=path.name,
        video_duration_s=info.duration_s,
        model=session.bundle.name,
        engine=engine,
        device=runs_on["device"],
        precision=runs_on["precision"],
        threads=runs_on["threads"],
        gallery_points=session.gallery.points,
        gallery_sha256=session.gallery.contract.files[EMBEDDINGS_FILE].sha256,
        batch_frames=options.batch_frames,
        sampling_fps=sampling_rate_fps(session, options),
        frames=frames,
        stages={stage: measured[stage] for stage in STAGES},
        end_to_end=Timing(END_TO_END, frames, whole.wall_s, whole.core_s),
        peak_memory_bytes=memory.peak_bytes,
        device_memory_bytes=max(device_bytes) if device_bytes else None,
    )


def _time_stages(info: VideoInfo, session: Session, options: LocateOptions, watch: Stopwatch) -> int:
    """Run every stage on what the one before has left, one after the other, and return for how many frames."""
    for stage in STAGES:
        with watch.time(stage):
            pass  # a model without a stage spends nothing in it
    with watch.time("decode"), open_decoder(info, session, options) as decoder:
        batches = list(frame_batches(islice(decoder, MAX_FRAMES), options.batch_frames))
    timed = _timed(session, watch)
    with watch.time("search"):  # and the windows around it; the engines' own time counts as theirs
        embedded = join_frames(list(embed_frames(timed, encode_batches(timed, batches))))
        points = estimate_points(timed, embedded, options.top_k)
    with watch.time("write"):
        _render(Track(info.path.name, tuple(points), session.bundle.name))
    return len(points)


@dataclass(frozen=True, slots=True)
class _TimedEngine:
    """An engine whose runs are added to a stage, and to no stage around it."""

    engine: Engine
    stage: str
    watch: Stopwatch

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with self.watch.time(self.stage):
            return self.engine.run(inputs)

    def describe(self) -> dict[str, Any]:
        return self.engine.describe()


def _timed(session: Session, watch: Stopwatch) -> Session:
    engines = {
        name: _TimedEngine(engine, STAGE_OF_GRAPH.get(name, "search"), watch)
        for name, engine in session.engines.items()
    }
    return replace(session, engines=engines)


def _render(track: Track) -> None:
    for output_format in FORMATS.values():
        render_track(track, output_format)
