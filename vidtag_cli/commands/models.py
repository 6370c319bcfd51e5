"""``vidtag models``: the models on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vidtag_cli.commands.console import (
    output_json,
    output_lines,
    output_table,
    path_fields,
    printable,
    say_error,
    showing_builds,
    stderr_console,
)
from vidtag_cli.commands.get import get_command
from vidtag_cli.commands.options import JsonOption, NoColorOption, QuietOption, ThreadsOption
from vidtag_cli.errors import ModelError

if TYPE_CHECKING:
    from vidtag_cli.bundle.contract import Calibration
    from vidtag_cli.bundle.integrity import BundleReport
    from vidtag_cli.bundle.load import ModelBundle
    from vidtag_cli.engines.compile import CompiledGraph

app = typer.Typer(help="Get, list, describe, verify, install, test and compile models.", no_args_is_help=True)
app.command("get")(get_command)

ModelArgument = Annotated[str, typer.Argument(metavar="NAME|PATH", help="A model's name, or the path of its folder.")]


@app.command("list")
def list_command(as_json: JsonOption = False) -> None:
    """List the models that --model can name."""
    from vidtag_cli.bundle.installed_models import HOW_TO_GET_A_MODEL, list_models

    models = list_models()
    if as_json:
        fields = ("name", "kind", "version", "origin", "problem")
        output_json({"models": [{f: getattr(m, f) for f in fields} | path_fields(m.path) for m in models]})
    elif models:
        rows = [(m.name, m.kind or "?", m.version or "?", m.origin, m.problem or str(m.path)) for m in models]
        output_table(("NAME", "KIND", "VERSION", "ORIGIN", "FOLDER"), rows)
    else:
        typer.echo(f"no model is installed: {HOW_TO_GET_A_MODEL}", err=True)


@app.command("selftest")
def selftest_command(
    model: ModelArgument,
    engine: Annotated[str, typer.Option(help="What runs it.")] = "onnxruntime",
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N (default: the engine's own).")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, fp16 or int8 (default: the model's own).")] = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Hold an engine against the CPU on real pictures in awkward batches; exit code 6 when it computes wrong."""
    from vidtag_cli.bundle.installed_models import find_model
    from vidtag_cli.bundle.load import load_bundle
    from vidtag_cli.pipeline.engine_trial import require_passed
    from vidtag_cli.recipes.selftest import try_bundle

    bundle = load_bundle(find_model(model))
    with showing_builds(stderr_console(quiet, no_color), "trying the engine", quiet) as observer:
        result = try_bundle(bundle, precision, engine, device, threads, observer)
    if as_json:
        output_json({"model": bundle.name, "engine": engine, **result.document()})
    else:
        rows = [("with the reference", f"{result.least_cosine:.6f}")]
        output_table(("BATCH", "LEAST COSINE"), rows + [(name, f"{c:.6f}") for name, c in result.batches.items()])
        output_lines([result.movement()])
    require_passed(result, f"{bundle.name} {result.precision} on {engine}")


@app.command("info")
def info_command(model: ModelArgument, as_json: JsonOption = False) -> None:
    """Show what a model says about itself; its hashes are not checked."""
    from vidtag_cli.bundle.installed_models import find_model
    from vidtag_cli.bundle.load import load_bundle
    from vidtag_cli.strict_values import encode

    bundle = load_bundle(find_model(model), verify=False)
    if as_json:
        output_json(path_fields(bundle.path) | {"sha256": bundle.sha256, "bundle": encode(bundle.contract)})
    else:
        output_lines([f"{label:<12}  {printable(text)}" for label, text in _description(bundle)])


@app.command("verify")
def verify_command(model: ModelArgument, as_json: JsonOption = False) -> None:
    """Recompute the hash of every file of a model; exit code 6 when one differs."""
    from vidtag_cli.bundle.installed_models import find_model
    from vidtag_cli.bundle.integrity import verify_bundle

    report = verify_bundle(find_model(model))
    if as_json:
        output_json(_report_fields(report))
    else:
        output_table(("FILE", "STATUS", "DETAIL"), [(c.path, c.status, c.detail) for c in report.files])
        output_lines([f"bundle.json sha256 {report.sha256}"])
    if not report.is_ok:
        bad = ", ".join(c.path for c in report.files if not c.is_ok)
        message = f"{report.path}: not as bundle.json describes it: {bad}; install the model again"
        # With --json the object above is the answer; a second one for the error would make the output two lines.
        if as_json:
            say_error(message)
            raise typer.Exit(ModelError.exit_code)
        raise ModelError(message)


@app.command("install")
def install_command(
    source: Annotated[Path, typer.Argument(metavar="PATH", readable=False, help="The folder of a model.")],
    force: Annotated[bool, typer.Option("--force", help="Replace an installed model of the same name.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy a model among the installed ones, after checking its hashes."""
    from vidtag_cli.bundle.installed_models import install_model

    target = install_model(source, force)
    if as_json:
        output_json({"name": target.stem} | path_fields(target))
    else:
        output_lines([f"installed {target.stem} in {printable(str(target))}"])


@app.command("compile")
def compile_command(
    model: ModelArgument,
    engine: Annotated[Literal["tensorrt", "tensorrt_rtx"], typer.Option(help="The engine to build for.")],
    target: Annotated[
        str | None,
        typer.Option(metavar="sm89,...", help="Kinds of GPU to build for (tensorrt_rtx only; default: the GPU here)."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Precision of the graphs, such as fp16 (default: the model's).")
    ] = None,
    device: Annotated[str, typer.Option(help="The GPU to build for when there is no --target.")] = "cuda",
    force: Annotated[bool, typer.Option("--force", help="Build again what is in the cache.")] = False,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Build the engines of a model ahead of time; what is in the cache already is not built again.

    Prints for each graph what its build took: wall time, size of the engine, and the most memory of this process.
    """
    from vidtag_cli.bundle.installed_models import find_model
    from vidtag_cli.bundle.load import load_bundle
    from vidtag_cli.engines.compile import compile_graph, targets_for
    from vidtag_cli.engines.tensorrt_library import import_tensorrt

    library = import_tensorrt(engine)
    targets = targets_for(library, [name.strip() for name in (target or "").split(",") if name.strip()], device)
    bundle = load_bundle(find_model(model))
    graphs = bundle.graphs_for(precision, has_float64=False)
    console = stderr_console(quiet, no_color)
    compiled = []
    for graph, built_for in ((graph, built_for) for graph in graphs.values() for built_for in targets):
        with showing_builds(console, f"building {graph.name} for {built_for.spelled()}", quiet) as observer:
            compiled.append(
                compile_graph(
                    graph,
                    engine,
                    built_for,
                    window_frames=bundle.window.frames,
                    device=device,
                    threads=threads,
                    rebuild=force,
                    observer=observer,
                )  # fmt: skip
            )
    if as_json:
        engines = [_compiled_fields(graph) for graph in compiled]
        output_json({"name": bundle.name, "engine": engine, "version": library.version, "engines": engines})
    else:
        header = ("GRAPH", "PRECISION", "TARGET", "STATE", "SECONDS", "SIZE_MB", "PEAK_MB", "FILE")
        output_table(header, [_compiled_cells(graph) for graph in compiled])


def _compiled_fields(compiled: CompiledGraph) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(compiled)


def _compiled_cells(compiled: CompiledGraph) -> tuple[str, ...]:
    return (
        compiled.graph,
        compiled.precision,
        compiled.target,
        "built" if compiled.is_new else "cached",
        f"{compiled.build_seconds:.1f}",
        f"{compiled.size_bytes / 1e6:.1f}",
        f"{compiled.peak_bytes / 1e6:.0f}",
        compiled.file,
    )


def _description(bundle: ModelBundle) -> list[tuple[str, str]]:
    contract = bundle.contract
    rows = [
        ("name", f"{bundle.name} {contract.version} ({bundle.kind})"),
        ("folder", str(bundle.path)),
        ("sha256", bundle.sha256),
        ("domain", bundle.domain),
        ("frames", f"{bundle.preprocess.frame_size_px} px, {bundle.preprocess.resize}"),
        ("sampling", f"{bundle.sampling.frames_per_second:g} frames per second"),
        ("window", f"{bundle.window.frames} frames, {bundle.window.overlap_frames} shared"),
        ("locations", f"{bundle.location_encoder_kind}, {bundle.embedding_dim} dimensions"),
        ("uncertainty", bundle.calibration.statement),
        *(("measured", text) for text in _measured_lines(bundle.calibration)),
        *(() if bundle.contract.gate is None else (("gate", bundle.contract.gate.statement),)),
        ("data", "; ".join(contract.training.data)),
        ("licences", "; ".join(contract.training.licences)),
        ("made with", contract.created_with),
    ]
    rows.extend((f"graph {n}"[:12], f"{graph.path.name}, {graph.precision}") for n, graph in bundle.graphs.items())
    rows.extend(("metric", f"{name}: {number:g}") for name, number in contract.metrics.items())
    return rows


_COVERAGE = ("located_share", "coverage95", "coverage95_low", "coverage95_high")


def _measured_lines(calibration: Calibration) -> list[str]:
    """Return the coverage that was measured, one line for frames by themselves, for paths, and for each change."""
    measured = calibration.measured
    lines = [
        f"{kind}: {_coverage_text(*(measured.get(f'{prefix}{name}') for name in _COVERAGE))}"
        for kind, prefix in (("frame by frame", ""), ("--smooth viterbi", "path_"))
        if f"{prefix}located_share" in measured
    ]
    for of in calibration.changes:
        numbers = (of.located_share, of.coverage95, of.coverage95_low, of.coverage95_high)
        path = ", --smooth viterbi" * (of.smoothing == "viterbi")
        lines.append(f"{of.change}{path}: {_coverage_text(*numbers)} ({of.clips} clips, {of.frames} frames)")
    return lines


def _coverage_text(located_share: float | None, coverage95: float | None, low: float | None, high: float | None) -> str:
    located = f"{100.0 * (located_share or 0.0):.1f} % of the frames located"
    if coverage95 is None:
        return located
    interval = "interval not stored" if low is None or high is None else f"{100.0 * low:.1f}-{100.0 * high:.1f}"
    return f"{located}, 95 % circle holds {100.0 * coverage95:.1f} % of them [{interval}]"


def _report_fields(report: BundleReport) -> dict[str, Any]:
    files = [
        {
            "file": check.path,
            "status": check.status,
            "expected_sha256": check.expected_sha256,
            "found_sha256": check.found_sha256,
            "detail": check.detail,
        }
        for check in report.files
    ]
    return {"name": report.name, "ok": report.is_ok, "sha256": report.sha256, "files": files} | path_fields(report.path)
