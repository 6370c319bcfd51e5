"""``python -m training ablations``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
    selected_rows = study.chosen([name.strip() for name in rows.split(",") if name.strip()])
    options = StudyOptions(seeds, steps_factor, gallery_km)
    typer.echo(run_study(run, out or run / "ablations", study, selected_rows, options, preset))
