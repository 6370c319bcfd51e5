"""``python -m training``: make models."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from training.command_line import make_app, run_app
from training.config_files import load_config
from training.data.command import data_app
from training.run.commands import benchmark, classify, predict, train
from training.shift.command import shift_app

app = make_app(__doc__)
app.add_typer(data_app, name="data")
app.add_typer(shift_app, name="shift")
app.command()(train)
app.command()(predict)
app.command()(classify)
app.command()(benchmark)


@app.command()
def flyover(
    out: Annotated[Path, typer.Option(help="Folder of the run; a run found there is continued.")],
    preset: Annotated[str, typer.Option(help="Preset name or TOML file.")] = "flyover",
    device: Annotated[str, typer.Option(help="Torch device of the rendering and the backbones: cpu, cuda.")] = "cpu",
) -> None:
    """Train the demo model from imagery of the Earth, evaluate it and its ablations, calibrate it."""
    from training.flyover.build import train_flyover
    from training.phases.distributed import local_device

    train_flyover(load_config(preset), out, local_device(device))


@app.command("demo-clip")
def demo_clip(
    out: Annotated[Path, typer.Option(help="Folder for flyover_demo.mp4 and flyover_demo.truth.csv.")],
    preset: Annotated[str, typer.Option(help="Preset name or TOML file.")] = "flyover",
) -> None:
    """Film one held-out flight: the clip that 'vidtag demo' locates, and its true track."""
    from training.flyover.demo import write_demo_clip

    write_demo_clip(load_config(preset), out)


@app.command()
def figure(
    track: Annotated[Path, typer.Argument(help="Track as GeoJSON points, as 'vidtag demo' writes it.")],
    truth: Annotated[Path, typer.Argument(help="True track as CSV with media_time_s, lat, lon.")],
    out: Annotated[Path, typer.Option(help="PNG to write.")],
) -> None:
    """Draw a track over the true one on the imagery of the Earth."""
    from training.flyover.demo import draw_track

    draw_track(track, truth, out)


@app.command()
def evaluate(
    files: Annotated[list[Path], typer.Argument(help="Predictions files of one or more models.")],
    out: Annotated[Path, typer.Option(help="Folder for evaluation.md, evaluation.json and figures.")],
    paper_table: Annotated[str | None, typer.Option(help="Table of the paper to set beside; default: by data.")] = None,
    allow_leak: Annotated[bool, typer.Option("--allow-leak", help="Mark, not refuse, a gallery with queries.")] = False,
    draw: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw the paper's figures.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    """Turn predictions into tables with confidence intervals, beside the paper's, and figures."""
    from training.evaluation.evaluate import evaluate as write_evaluation

    typer.echo(write_evaluation(files, out, paper_table=paper_table, allow_leak=allow_leak, draw=draw, seed=seed))


@app.command()
def ablations(
    run: Annotated[Path, typer.Option(help="Folder that 'python -m training flyover' made: its features are used.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the study, continued if there; RUN/ablations.")] = None,
    rows: Annotated[str, typer.Option(help="Names of rows, by commas; default: all of the plan.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="How many times each row is trained.")] = 3,
    steps_factor: Annotated[
        float, typer.Option(help="Length of every training against the preset's: 0.2 for a small machine.")
    ] = 1.0,
    gallery_km: Annotated[float, typer.Option(help="Step of the gallery's grid in kilometres.")] = 25.0,
    plan: Annotated[Path | None, typer.Option(help="TOML file of rows, tables and orderings.")] = None,
    preset: Annotated[str | None, typer.Option(help="Preset of the run; default: the run's own.")] = None,
) -> None:
    """Train every ablation and baseline on a flyover run's features; write the tables beside the paper's."""
    from training.ablations.plan import PLAN_FILE, load_plan
    from training.ablations.study import StudyOptions, run_study

    study = load_plan(plan or PLAN_FILE)
    selected_rows = study.select([name.strip() for name in rows.split(",") if name.strip()])
    options = StudyOptions(seeds, steps_factor, gallery_km)
    typer.echo(run_study(run, out or run / "ablations", study, selected_rows, options, preset))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    return run_app(app, "training", arguments)


if __name__ == "__main__":
    sys.exit(main())
