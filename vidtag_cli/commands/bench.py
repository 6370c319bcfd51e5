"""``vidtag bench``: how fast is it here?"""

from __future__ import annotations

from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidtag_cli.commands.console import output_json, output_lines, output_table, printable, progress, stderr_console
from vidtag_cli.commands.options import (
    DeviceOption,
    EngineOption,
    GalleryOption,
    JsonOption,
    ModelOption,
    NoColorOption,
    QuietOption,
    ThreadsOption,
)

if TYPE_CHECKING:
    from vidtag_cli.benchmark.stages import Benchmark


def bench_command(
    video: Annotated[Path | None, typer.Argument(metavar="VIDEO", help="Default: the bundled demo clip.")] = None,
    model: ModelOption = None,
    gallery: GalleryOption = None,
    fps: Annotated[float | None, typer.Option(min=0.001, help="Frames analysed per second of video.")] = None,
    all_frames: Annotated[bool, typer.Option("--all-frames", help="Analyse every frame.")] = False,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Counted rounds, after one that is not.")] = 5,
    engine: EngineOption = "onnxruntime",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Time every stage of locating a video: decode, encode, TempGeo, search, refine, write."""
    from vidtag_cli.benchmark.stages import run_benchmark
    from vidtag_cli.pipeline.locate import LocateOptions
    from vidtag_cli.pipeline.session import open_session

    console = stderr_console(quiet, no_color)
    with ExitStack() as stack:
        if video is None:
            video = stack.enter_context(as_file(files("vidtag_cli") / "data" / "demo" / "flyover_demo.mp4"))
        session = open_session(model, gallery_path=gallery, engine=engine, device=device, threads=threads)
        show = stack.enter_context(progress(console, "rounds", quiet))
        options = LocateOptions(sampling_fps=fps, all_frames=all_frames)
        benchmark = run_benchmark(video, session, options, rounds, show)
    if as_json:
        output_json(_record(benchmark))
    else:
        _print_table(benchmark)


def _record(benchmark: Benchmark) -> dict[str, Any]:
    timings = (*benchmark.stages, benchmark.end_to_end)
    return {
        "schema": "vidtag-bench/1",
        "video": benchmark.video,
        "model": benchmark.model,
        "frames": benchmark.frames,
        "rounds": benchmark.rounds,
        "stages": {
            timing.stage: {
                "median_s": timing.median_s(),
                "min_s": min(timing.seconds),
                "max_s": max(timing.seconds),
                "frames_per_second": benchmark.frames_per_second(timing),
            }
            for timing in timings
        },
        "real_time_factor": benchmark.real_time_factor(),
        "peak_memory_bytes": benchmark.peak_memory_bytes,
        "machine": benchmark.machine,
    }


def _print_table(benchmark: Benchmark) -> None:
    rows = [
        (
            timing.stage,
            f"{1000.0 * timing.median_s():.1f}",
            f"{1000.0 * min(timing.seconds):.1f}",
            f"{1000.0 * max(timing.seconds):.1f}",
            f"{benchmark.frames_per_second(timing):.0f}",
        )
        for timing in (*benchmark.stages, benchmark.end_to_end)
    ]
    output_table(("STAGE", "MEDIAN_MS", "MIN_MS", "MAX_MS", "FRAMES_PER_S"), rows)
    factor = benchmark.real_time_factor()
    machine = benchmark.machine
    output_lines([
        "",
        f"{printable(benchmark.video)}: {benchmark.frames} frames, model {benchmark.model}, {benchmark.rounds} rounds"
        + ("" if factor is None else f", {factor:.1f} times real time"),
        f"peak memory {benchmark.peak_memory_bytes / 2**20:.0f} MiB",
        f"{machine['processor']}, {machine['cores']} cores; " + ", ".join(
            f"{name} {text}" for name, text in machine.items() if name not in ("processor", "cores", "platform")
        ),
    ])  # fmt: skip
