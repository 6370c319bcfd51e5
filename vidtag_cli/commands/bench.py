"""``vidtag bench``: how fast is it here?"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidtag_cli.commands.console import (
    output_json,
    output_lines,
    output_table,
    printable,
    progress,
    showing_builds,
    stderr_console,
)
from vidtag_cli.commands.options import (
    DeviceOption,
    GalleryOption,
    JsonOption,
    ModelOption,
    NoColorOption,
    PrecisionOption,
    QuietOption,
    ThreadsOption,
    check_is_there,
)
from vidtag_cli.errors import UsageError
from vidtag_cli.exhaustion import check_room_to_run

if TYPE_CHECKING:
    from rich.console import Console

    from vidtag_cli.benchmark.decoding import DecodeBenchmark
    from vidtag_cli.benchmark.record import Comparison
    from vidtag_cli.benchmark.stages import Benchmark
    from vidtag_cli.benchmark.timing import Timing


_NOT_FOR_DECODER = (
    "model", "random_weights", "gallery", "fps", "all_frames", "batch", "engine", "device", "precision", "against",
)  # fmt: skip

DECIMALS_BELOW = 10.0
"""Rates below this are shown with decimals: a full-size model on a CPU encodes less than one frame a second."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """What runs the networks: one benchmark for each of the names, all on one device in one precision."""

    names: list[str]
    device: str | None
    precision: str | None
    threads: int | None


def bench_command(
    context: typer.Context,
    video: Annotated[
        Path | None, typer.Argument(metavar="VIDEO", readable=False, help="Default: the bundled demo clip.")
    ] = None,
    model: ModelOption = None,
    random_weights: Annotated[
        str | None,
        typer.Option(metavar="PRESET", help="Time a preset such as paper at full size with random weights."),
    ] = None,
    gallery: GalleryOption = None,
    fps: Annotated[float | None, typer.Option(min=0.001, help="Frames analysed per second of video.")] = None,
    all_frames: Annotated[bool, typer.Option("--all-frames", help="Analyse every frame.")] = False,
    batch: Annotated[str, typer.Option(metavar="N,...", help="Frames the encoder takes at once, one or more.")] = "32",
    engine: Annotated[
        str, typer.Option(metavar="NAME,...", help="Engines to time; 'vidtag doctor' lists them.")
    ] = "onnxruntime",
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Counted rounds, after one that is not.")] = 5,
    against: Annotated[Path | None, typer.Option(readable=False, help="Compare with a run saved with --json.")] = None,
    decoder: Annotated[
        bool, typer.Option("--decoder", help="Time decoding alone, beside 'ffmpeg -f null -'; needs no model.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Time every stage of locating a video, and all of them together.

    Each stage is timed by itself: decode, encode, TempGeo, search, refine, write; then the whole as a user runs it.
    Engines hand back arrays in the memory of the host, so every clock has waited for the device.
    """
    if video is not None:
        check_is_there(video)
    check_room_to_run()
    console = stderr_console(quiet, no_color)
    with ExitStack() as stack:
        if video is None:
            video = stack.enter_context(as_file(files("vidtag_cli") / "data" / "demo" / "flyover_demo.mp4"))
        if decoder:
            _check_decoder_alone(context)
            _bench_decoder(console, video, rounds, threads or 1, as_json, quiet)
            return
        saved = _read_saved(against)
        engines = EngineChoice(_engines(engine), device, precision, threads)
        benchmarks = _sweep(
            console, video, model, random_weights, gallery, (fps, all_frames), engines, _batches(batch), rounds, quiet
        )
    _report(benchmarks, saved, as_json)


def _sweep(
    console: Console,
    video: Path,
    model: str | None,
    random_weights: str | None,
    gallery: Path | None,
    sampling: tuple[float | None, bool],
    engines: EngineChoice,
    batches: list[int],
    rounds: int,
    quiet: bool,
) -> list[Benchmark]:
    """Return one benchmark for every engine and batch size."""
    from vidtag_cli.benchmark.random_weights import check_random, find_random_model
    from vidtag_cli.benchmark.stages import run_benchmark
    from vidtag_cli.pipeline.locate import LocateOptions
    from vidtag_cli.pipeline.session import open_session

    if random_weights is not None and model is not None:
        raise UsageError("--model and --random-weights name two models: give one of them")
    model_path: str | Path | None = model if random_weights is None else find_random_model(random_weights)
    benchmarks = []
    for name in engines.names:
        with showing_builds(console, "opening the model", quiet) as observer:
            session = open_session(
                model_path, gallery_path=gallery, engine=name, device=engines.device, threads=engines.threads,
                precision=engines.precision, observer=observer, allows_random_weights=True,
            )  # fmt: skip
        if random_weights is not None:
            check_random(session.bundle)
        for batch_frames in batches:
            options = LocateOptions(sampling_fps=sampling[0], all_frames=sampling[1], batch_frames=batch_frames)
            with progress(console, f"{name}, batch {batch_frames}", quiet) as show:
                benchmarks.append(run_benchmark(video, session, options, rounds, name, show))
    return benchmarks


def _check_decoder_alone(context: typer.Context) -> None:
    """Raise UsageError for options that were given and that decoding alone has no use for."""
    sources = {name: context.get_parameter_source(name) for name in _NOT_FOR_DECODER}
    unsuitable = [
        f"--{name.replace('_', '-')}"
        for name, source in sources.items()
        if source is not None and source.name == "COMMANDLINE"
    ]
    if unsuitable:
        raise UsageError(f"--decoder runs no model and samples as it must: leave {', '.join(unsuitable)} out")


def _engines(text: str) -> list[str]:
    """Return the engines of a list, in order; raises UsageError for one that does not exist or comes twice."""
    from vidtag_cli.engines.opening import check_engine

    names = [name.strip() for name in text.split(",")]
    for name in names:
        check_engine(name)
    if len(set(names)) < len(names):
        raise UsageError(f"--engine {text}: an engine comes twice")
    return names


def _batches(text: str) -> list[int]:
    try:
        sizes = [int(size) for size in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--batch {text}: give whole numbers separated by commas, as in 1,8,32") from error
    if min(sizes) < 1:
        raise UsageError(f"--batch {text}: a batch has at least one frame")
    return sizes


def _read_saved(against: Path | None) -> dict[str, Any] | None:
    if against is None:
        return None
    from vidtag_cli.benchmark.record import read_bench_record

    return read_bench_record(against)


def _report(benchmarks: list[Benchmark], saved: dict[str, Any] | None, as_json: bool) -> None:
    from vidtag_cli.benchmark.machine import machine_record
    from vidtag_cli.benchmark.record import bench_record, changes_of_machine, compare_with_saved, comparison_record

    machine = machine_record()
    compared = [None if saved is None else compare_with_saved(benchmark, saved) for benchmark in benchmarks]
    changes = [] if saved is None else changes_of_machine(machine, saved["machine"])
    if as_json:
        record = bench_record(benchmarks, machine)
        for run, comparisons in zip(record["runs"], compared, strict=True):
            if comparisons is not None:
                run["against"] = {**comparison_record(comparisons), "machine_changes": changes}
        output_json(record)
        return
    for benchmark, comparisons in zip(benchmarks, compared, strict=True):
        _print_benchmark(benchmark)
        if comparisons is not None:
            _print_comparisons(comparisons)
    if changes:
        output_lines(["not the machine of the saved run:", *(f"  {printable(change)}" for change in changes), ""])
    _print_machine(machine)


def _print_benchmark(benchmark: Benchmark) -> None:
    timings = (*benchmark.stages.values(), benchmark.end_to_end)
    output_table(("STAGE", "MEDIAN_MS", "P95_MS", "CORE_MS", "FRAMES_PER_S"), [_cells(timing) for timing in timings])
    factor, overlap, device_bytes = (
        benchmark.real_time_factor(), benchmark.overlap_ratio(), benchmark.device_memory_bytes,
    )  # fmt: skip
    runs_in = " ".join(text for text in (benchmark.engine, benchmark.precision) if text)
    facts = [
        f"{printable(benchmark.video)}: {benchmark.frames} frames, model {benchmark.model}, {runs_in}, "
        f"batch {benchmark.batch_frames}, {len(benchmark.end_to_end.wall_s)} rounds",
        "" if factor is None else f"{_rate(factor, decimals=1)} times real time",
        "" if overlap is None else f"{overlap:.2f} times its slowest part alone",
        f"peak memory {benchmark.peak_memory_bytes / 2**20:.0f} MiB",
        "" if device_bytes is None else f"device memory {device_bytes / 2**20:.0f} MiB",
    ]
    output_lines(["; ".join(fact for fact in facts if fact), ""])


def _cells(timing: Timing) -> tuple[str, ...]:
    rate = timing.frames_per_second()
    return (
        timing.name,
        f"{1000.0 * timing.median_s():.1f}",
        f"{1000.0 * timing.p95_s():.1f}",
        f"{1000.0 * timing.median_core_s():.1f}",
        "-" if rate is None else _rate(rate, decimals=0),
    )


def _rate(rate: float, decimals: int) -> str:
    return f"{rate:.2f}" if rate < DECIMALS_BELOW else f"{rate:.{decimals}f}"


def _print_comparisons(comparisons: list[Comparison]) -> None:
    from vidtag_cli.benchmark.record import RULE

    rows = [
        (
            comparison.stage,
            comparison.verdict,
            f"{comparison.speedup:.2f}",
            f"{comparison.p_value:.3f}",
            "-".join(f"{1000.0 * bound:.1f}" for bound in comparison.now_min_max_s),
            "-".join(f"{1000.0 * bound:.1f}" for bound in comparison.saved_min_max_s),
        )
        for comparison in comparisons
    ]
    output_table(("STAGE", "NOW_IS", "SPEEDUP", "P", "NOW_MS", "SAVED_MS"), rows)
    output_lines([RULE, ""])


def _bench_decoder(console: Console, video: Path, rounds: int, threads: int, as_json: bool, quiet: bool) -> None:
    from vidtag_cli.benchmark.decoding import run_decode_benchmark
    from vidtag_cli.benchmark.machine import machine_record
    from vidtag_cli.benchmark.record import decode_record

    with progress(console, "decoding", quiet) as show:
        benchmark = run_decode_benchmark(video, rounds, threads, progress=show)
    machine = machine_record()
    if as_json:
        output_json(decode_record(benchmark, machine))
        return
    _print_decoding(benchmark)
    _print_machine(machine)


def _print_decoding(benchmark: DecodeBenchmark) -> None:
    import statistics

    rows = [
        (
            timing.name,
            f"{timing.frames}",
            f"{timing.median_core_s():.2f}",
            f"{statistics.median(ratios):.3f}",
            f"{min(ratios):.3f}-{max(ratios):.3f}",
            f"{timing.median_s():.2f}",
        )
        for timing in (benchmark.floor, *benchmark.cases)
        for ratios in (benchmark.core_ratios(timing),)
    ]
    output_table(("DECODING", "FRAMES", "CORE_S", "RATIO", "MIN-MAX", "WALL_S"), rows)
    output_lines([f"{printable(benchmark.video)}: processor seconds with reading, {benchmark.threads} thread(s)", ""])


def _print_machine(machine: dict[str, Any]) -> None:
    gpus = [f"{gpu['name']} (driver {gpu['driver']})" for gpu in machine["gpus"]]
    versions = {name: machine[name] for name in ("vidtag", "python", "ffmpeg")} | machine["packages"]
    output_lines([
        ", ".join([machine["processor"], f"{machine['cores']} cores", *(gpus or ["no NVIDIA driver"])]),
        ", ".join(f"{name} {text}" for name, text in versions.items()),
    ])  # fmt: skip
