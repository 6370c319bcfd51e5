"""``vidtag models get``: a model from published weights, in one command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidtag_cli.commands.console import output_json, output_lines, progress, showing_builds, stderr_console
from vidtag_cli.commands.options import JsonOption, NoColorOption, QuietOption, ThreadsOption
from vidtag_cli.errors import ModelError

if TYPE_CHECKING:
    from vidtag_cli.recipes.make import TriedModel
    from vidtag_cli.recipes.recipe import LoadedRecipe
    from vidtag_cli.recipes.sources import FoundSource


def get_command(
    model: Annotated[str, typer.Argument(metavar="NAME|RECIPE", help="A model such as geoclip, or a recipe file.")],
    precision: Annotated[
        str, typer.Option(help="What most of it computes in: fp32, fp16 for GPUs, int8 for CPUs.")
    ] = "fp32",
    offered: Annotated[
        list[Path] | None,
        typer.Option(
            "--from", metavar="PATH", readable=False, help="A file or folder to take instead of the web; repeatable."
        ),
    ] = None,
    index_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Python package index to take packages from.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched, and stop.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an installed model of that name.")] = False,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    no_color: NoColorOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fetch published weights and make a model of them: the one command that opens a network connection.

    Files are known by their SHA-256, which is checked before anything in them is read. A download that was
    interrupted goes on where it stopped.
    """
    from vidtag_cli.recipes.make import make_model, target_folder
    from vidtag_cli.recipes.recipe import load_recipe
    from vidtag_cli.recipes.sources import find_sources

    loaded = load_recipe(model)
    if precision not in loaded.recipe.precisions:
        raise ModelError(f"{loaded.recipe.name}: there is {', '.join(loaded.recipe.precisions)}, no {precision}")
    if not dry_run:
        target_folder(loaded, force)  # before a gigabyte is fetched
    found = find_sources(loaded.recipe, offered or [], index_url)
    console = stderr_console(quiet, no_color)
    if dry_run:
        if as_json:
            output_json(_plan(loaded, found, precision))
        else:
            output_lines(_plan_lines(loaded, found, precision))
        return
    for line in _plan_lines(loaded, found, precision):
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    def tell(text: str) -> None:
        console.print(f"{text} ...", markup=False, highlight=False, soft_wrap=True)

    with (
        progress(console, "fetching", quiet) as advance,
        showing_builds(console, "embedding places", quiet) as observer,
    ):
        tried = make_model(
            loaded, found, precision, force=force, tell=tell, threads=threads, observer=observer,
            progress=lambda _, done, whole: advance(done, whole),
        )  # fmt: skip
    if as_json:
        output_json(_tried(tried))
    else:
        output_lines(_tried_lines(tried))


def _plan(loaded: LoadedRecipe, found: Sequence[FoundSource], precision: str) -> dict[str, Any]:
    files = [
        {
            "file": one.source.file_name, "url": one.url, "bytes": one.source.bytes, "sha256": one.source.sha256,
            "licence": one.source.licence, "where": one.found, "is_here": one.is_here,
        }
        for one in found
    ]  # fmt: skip
    fetched = sum(one.source.bytes for one in found if not one.is_here)
    return {"model": loaded.recipe.name, "precision": precision, "files": files, "bytes_to_fetch": fetched}


def _plan_lines(loaded: LoadedRecipe, found: Sequence[FoundSource], precision: str) -> list[str]:
    lines = [f"{loaded.recipe.name}, {precision}, is made of {len(found)} files:"]
    for one in found:
        source = one.source
        lines += [
            f"  {source.file_name}: {source.bytes / 1e6:,.1f} MB, {source.licence}",
            f"    {one.url}" if not one.is_here else f"    {one.found}",
            f"    SHA-256 {source.sha256}",
        ]
    fetched = sum(one.source.bytes for one in found if not one.is_here)
    size = f"{fetched / 1e6:,.1f} MB" if fetched else "nothing: all is here"
    return [*lines, f"to be fetched: {size}"]


def _tried(tried: TriedModel) -> dict[str, Any]:
    places = [{"lat_deg": lat, "lon_deg": lon, "cosine": cosine} for lat, lon, cosine in tried.places]
    return {
        "name": tried.bundle.name, "path": str(tried.bundle.path), "sha256": tried.bundle.sha256,
        "selftest": tried.test.document(), "test_places": places,
    }  # fmt: skip


def _tried_lines(tried: TriedModel) -> list[str]:
    test, bundle = tried.test, tried.bundle
    places = ", ".join(f"{lat:.2f} {lon:.2f}" for lat, lon, _ in tried.places)
    return [
        f"installed: {bundle.path}",
        f"{test.precision} on {test.frames} pictures: cosine with fp32 at least {test.least_cosine:.5f}",
        test.movement(),
        f"places of these pictures (they were not taken for their places): {places}",
        f"use it: vidtag locate CLIP --model {bundle.name} --out track.gpx",
    ]
