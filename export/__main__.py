"""``python -m export``: bundles from training runs, and the proof that they are faithful."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from export.full_size import onnx
from export.geoclip.bundle import geoclip
from export.geoclip.skeletons import skeletons
from export.studies.cpu_benchmark import cpu_benchmark
from export.studies.geoclip_comparison import geoclip_compare, random_clip
from export.studies.island_study import islands
from training.command_line import make_app, run_app
from vidtag_cli.errors import ModelError

app = make_app(__doc__)
app.command()(onnx)
app.command()(geoclip)
app.command()(skeletons)
app.command("cpu-benchmark")(cpu_benchmark)
app.command("geoclip-compare")(geoclip_compare)
app.command("random-clip")(random_clip)
app.command()(islands)

RunFolder = Annotated[Path, typer.Option("--run", help="Folder of the training run the bundle was made from.")]


@app.command()
def bundle(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a finished training run.")],
    out: Annotated[Path, typer.Option(help="The bundle to write: NAME.vidtag.")],
    about: Annotated[Path | None, typer.Option(help="TOML file of statements; default: the preset's.")] = None,
    store_weights: Annotated[
        Literal["float16", "float32"], typer.Option(help="float16 (lossless for rounded weights) or float32.")
    ] = "float16",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing bundle.")] = False,
) -> None:
    """Export a trained model as a bundle and compare every graph with torch."""
    from export.bundle import TrainedModel, checked_name, read_about, write_bundle
    from export.parity.report import format_report
    from training.run.folder import read_run

    checked_name(out, force)
    run = read_run(run_folder)
    source = TrainedModel(run, read_about(run.config.name, about), store_weights)
    made, reports = write_bundle(source, out, force=force)
    for report in reports:
        print(format_report(report))
    size_bytes = sum(path.stat().st_size for path in made.path.iterdir())
    print(f"{made.path}: {size_bytes / 1e6:.1f} MB, sha256 of bundle.json {made.sha256}")


@app.command()
def parity(
    bundle_folder: Annotated[Path, typer.Argument(help="The bundle.")],
    run_folder: RunFolder,
    engine: Annotated[str, typer.Option(help="Engine to compare with torch.")] = "onnxruntime",
) -> None:
    """Compare every graph of a bundle with the weights it was made from."""
    from export.parity.bundle import bundle_parity
    from export.parity.reference import parity_reference
    from export.parity.report import format_report
    from training.run.folder import read_run
    from vidtag_cli.bundle.load import load_bundle

    run = read_run(run_folder)
    reference = parity_reference(run.model, run.gallery_latlon_deg)
    report = bundle_parity(load_bundle(bundle_folder), reference, run.parity_frames_rgb, engine)
    print(format_report(report))
    if report.failures():
        raise ModelError(f"{bundle_folder}: {', '.join(report.failed_graphs())} differ too much from torch")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    return run_app(app, "export", arguments)


if __name__ == "__main__":
    sys.exit(main())
