"""``python -m training data``: what is on the disk, before a GPU is spent on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidtag_cli.commands.console import output_json, output_lines, output_table, path_fields, printable
from vidtag_cli.errors import VidtagError

data_app = typer.Typer(no_args_is_help=True, help="Look at data sets on disk.")


@data_app.callback()
def _data() -> None:
    """Look at data sets on disk."""


@data_app.command("check")
def check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Root folder of a data set.")],
    kind: Annotated[
        str | None, typer.Option(help="msls, gama, cityguessr or videos; default: told by the layout.")
    ] = None,
    fps: Annotated[float | None, typer.Option(min=0.001, help="Frames taken a second of video (default 1).")] = None,
    min_frames: Annotated[int | None, typer.Option(min=1, help="Drop shorter sequences (default 16).")] = None,
    map_geojson: Annotated[Path | None, typer.Option("--map", help="Write the coverage map as GeoJSON.")] = None,
    map_png: Annotated[Path | None, typer.Option(help="Draw the coverage map (needs matplotlib).")] = None,
    cell_deg: Annotated[float, typer.Option(help="Side of a cell of the map in degrees.")] = 0.1,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Report counts, gaps, duplicates, bad coordinates, clock offsets and coverage of a data set.

    Findings are no error. Exit code 3: the folder cannot be read or is no data set.
    """
    try:
        _check(path, kind, fps, min_frames, (map_geojson, map_png), cell_deg, force, as_json)
    except VidtagError as error:
        message = printable(str(error))
        typer.echo(f"training: error: {message}", err=True)
        if as_json:
            output_json({"error": {"exit_code": error.exit_code, "kind": type(error).__name__, "message": message}})
        raise typer.Exit(error.exit_code) from error


def _check(
    path: Path,
    kind: str | None,
    fps: float | None,
    min_frames: int | None,
    maps: tuple[Path | None, Path | None],
    cell_deg: float,
    force: bool,
    as_json: bool,
) -> None:
    from training.data.check import check_rows, check_scan
    from training.data.coverage import draw_coverage, measure_coverage, write_coverage_geojson
    from training.data.kinds import open_data_set
    from vidtag_cli.writers.atomic import check_output_free

    for output in maps:
        if output is not None:
            check_output_free(output, force=force)
    result = open_data_set(path, kind, frames_per_s=fps, min_frames=min_frames).scan()
    checked = check_scan(result)
    coverage = measure_coverage(result.samples, cell_deg)
    if maps[0] is not None:
        write_coverage_geojson(coverage, maps[0], force)
    if maps[1] is not None:
        draw_coverage(coverage, maps[1], force)
    if as_json:
        cells = {"cell_deg": cell_deg, "cells": len(coverage.frames)}
        output_json({"schema": "vidtag-data-check/1", **path_fields(path), **checked.as_json(), "coverage": cells})
        return
    output_lines(
        [f"{result.report.name}: {printable(str(path))}, {len(coverage.frames)} cells of {cell_deg:g} degrees"]
    )
    output_table(["unit", "what", "count", "detail"], check_rows(checked))
