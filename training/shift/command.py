"""``python -m training shift``: a gate for a model, and what the model answers on footage unlike that of training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.command_line import make_app

shift_app = make_app(__doc__)


@shift_app.command()
def fit(
    model: Annotated[str, typer.Argument(help="Name or path of the bundle.")],
    out: Annotated[Path, typer.Option(help="Bundle to write, NAME.vidtag.")],
    samples: Annotated[Path, typer.Option(help="Folder of the changed flights; what is there is used again.")],
    groups: Annotated[int, typer.Option(min=1, help="Groups of flights the gate is trained on.")] = 90,
    preset: Annotated[str, typer.Option(help="Preset of the flights.")] = "flyover",
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle.")] = False,
) -> None:
    """Train a gate on changed flights, set its limits on others, write the bundle with it."""
    from training.config_files import load_config
    from training.shift.fit import write_gated_bundle

    typer.echo(write_gated_bundle(model, out, load_config(preset), samples, groups, force=force))


@shift_app.command()
def circles(
    model: Annotated[str, typer.Argument(help="Name or path of the bundle.")],
    out: Annotated[Path, typer.Option(help="Bundle to write, NAME.vidtag.")],
    flights: Annotated[int, typer.Option(min=20, help="Flights to fit on, and as many others to measure on.")] = 240,
    preset: Annotated[str, typer.Option(help="Preset of the flights.")] = "flyover",
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle.")] = False,
) -> None:
    """Fit radii on flights as they are and on changed ones that the gate lets through; write the bundle with them."""
    from training.config_files import load_config
    from training.shift.circles import write_circles

    typer.echo(write_circles(model, out, load_config(preset), flights, force=force))


@shift_app.command()
def claims(
    model: Annotated[str, typer.Argument(help="Name or path of the bundle.")],
    out: Annotated[Path, typer.Option(help="Bundle to write, NAME.vidtag.")],
    flights: Annotated[int, typer.Option(min=20, help="Flights to fit on, and as many others to measure on.")] = 240,
    preset: Annotated[str, typer.Option(help="Preset of the flights.")] = "flyover",
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle.")] = False,
) -> None:
    """Measure what 'vidtag check' says of true and false claims about flights; write the bundle with it."""
    from training.config_files import load_config
    from training.shift.claims import write_claims

    typer.echo(write_claims(model, out, load_config(preset), flights, force=force))


@shift_app.command()
def table(
    model: Annotated[str, typer.Argument(help="Name or path of the bundle.")],
    out: Annotated[Path, typer.Option(help="Markdown file to write.")],
    results: Annotated[Path, typer.Option(help="Folder of the rows' results; what is there is used again.")],
    flights: Annotated[int, typer.Option(min=1, help="Flights a row.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the flights and of the bootstrap.")] = 1,
    rows: Annotated[str, typer.Option(help="Names of rows, by commas; default: all.")] = "",
    preset: Annotated[str, typer.Option(help="Preset of the flights.")] = "flyover",
    bundle: Annotated[Path | None, typer.Option(help="Bundle to write too, NAME.vidtag, which says all that.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle.")] = False,
) -> None:
    """Locate changed flights and write which share was located and how often the circles held, a row each."""
    from training.config_files import load_config
    from training.shift.table import write_table

    names = [name.strip() for name in rows.split(",") if name.strip()]
    typer.echo(write_table(model, out, load_config(preset), flights, seed, names, results, bundle, force=force))


@shift_app.command()
def foreign(
    model: Annotated[str, typer.Argument(help="Name or path of the bundle.")],
    out: Annotated[Path, typer.Option(help="Markdown file to write.")],
    clips: Annotated[
        list[Path] | None, typer.Argument(help="Real clips of other kinds, beside those made here.")
    ] = None,
    gallery: Annotated[list[Path] | None, typer.Option(help="Gallery to search too, beside the model's own.")] = None,
    change: Annotated[list[str] | None, typer.Option(help="Only this change of the pictures; default: all.")] = None,
    made: Annotated[list[str] | None, typer.Option(help="Only this made picture; default: all.")] = None,
) -> None:
    """Locate footage that is not of the model's world, and write every answer: there should be none."""
    from training.shift.foreign import CHANGES, SOURCES, write_foreign

    typer.echo(write_foreign(model, out, clips or [], gallery or [], change or [*CHANGES], made or [*SOURCES]))
