"""``vidtag gallery``: build the places a search can answer with, and see what they cover."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidtag_cli.commands.console import (
    output_json,
    output_lines,
    path_fields,
    printable,
    progress,
    stderr_console,
)
from vidtag_cli.commands.options import DeviceOption, JsonOption, QuietOption, ThreadsOption, check_is_local
from vidtag_cli.errors import UsageError
from vidtag_cli.exhaustion import check_room_to_run

if TYPE_CHECKING:
    from vidtag_cli.gallery.coverage import Coverage, Floor
    from vidtag_cli.gallery.sources import PointSource
    from vidtag_cli.gallery.store import GalleryContract

app = typer.Typer(help="Build galleries and show what they cover.", no_args_is_help=True)

BoxOption = Annotated[
    str | None,
    typer.Option("--box", metavar="S,W,N,E", help="A box in degrees; W greater than E crosses the antimeridian."),
]
CountryOption = Annotated[str | None, typer.Option("--country", metavar="NAME", help="A country, by English name.")]
ModelOption = Annotated[
    str | None, typer.Option("--model", metavar="NAME|PATH", help="The model whose location encoder embeds the points.")
]
GalleryArgument = Annotated[Path, typer.Argument(metavar="GALLERY", readable=False, help="The folder of a gallery.")]


@app.command("build")
def build_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", readable=False, help="The folder to write.")],
    model: ModelOption = None,
    land: Annotated[bool, typer.Option("--land", help="All land from 60 S to 84 N.")] = False,
    box: BoxOption = None,
    country: CountryOption = None,
    points: Annotated[
        Path | None,
        typer.Option("--points", metavar="FILE", readable=False, help="Points of a CSV, GPX or GeoJSON file."),
    ] = None,
    spacing_km: Annotated[
        float | None, typer.Option("--spacing-km", metavar="KM", help="Step of the grid; not with --points.")
    ] = None,
    padding_km: Annotated[
        float, typer.Option("--padding-km", metavar="KM", min=0.0, help="Also what lies this near to --country.")
    ] = 0.0,
    land_only: Annotated[bool, typer.Option("--land-only", help="Leave the sea out of --box.")] = False,
    engine: Annotated[str, typer.Option("--engine", help="What runs the location encoder.")] = "onnxruntime",
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a gallery of that name.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Embed points with a model and save them; give one of --land, --box, --country and --points."""
    from vidtag_cli.bundle import find_model, load_bundle
    from vidtag_cli.engines.opening import has_float64, open_engine
    from vidtag_cli.gallery.build import build_gallery
    from vidtag_cli.gallery.store import GalleryOrigin
    from vidtag_cli.gallery.writing import check_gallery_target

    _check_choice(land=land, box=box, country=country, points=points)
    _check_companions(points, country, box, spacing_km, padding_km, land_only)
    check_is_local(out)
    check_gallery_target(out, force)
    check_room_to_run()
    bundle = load_bundle(find_model(model))
    encoder = bundle.graphs["location_encoder"]
    opened = open_engine(
        bundle.graphs_for(has_float64=has_float64(engine))["location_encoder"], engine, device, threads
    )
    source = _point_source(land, box, country, points, spacing_km or 0.0, padding_km, land_only)
    console = stderr_console(quiet)
    for warning in source.warnings:
        console.print(f"vidtag: warning: {printable(warning)}")
    with progress(console, f"embedding {len(source.latlon_deg):,} points", quiet) as show:
        gallery = build_gallery(
            out,
            source.latlon_deg,
            lambda latlon_deg: opened.run({"latlon_deg": latlon_deg})["location_embedding"],
            GalleryOrigin(source.description, source.spacing_km, bundle.name, encoder.sha256),
            wraps=bundle.location_encoder_kind == "sphere",
            cell_area_km2=source.cell_area_km2,
            progress=show,
            force=force,
        )
    if as_json:
        duplicates = len(source.latlon_deg) - gallery.points
        facts = {"duplicates_merged": duplicates, "warnings": list(source.warnings)}
        output_json(path_fields(out) | facts | {"gallery": dataclasses.asdict(gallery.contract)})
    else:
        output_lines([f"built {printable(str(out))}: {gallery.points:,} points, {printable(source.description)}"])


@app.command("info")
def info_command(
    gallery: GalleryArgument,
    box: BoxOption = None,
    country: CountryOption = None,
    top: Annotated[int, typer.Option("--top", min=0, metavar="N", help="How many countries to list.")] = 10,
    verify: Annotated[bool, typer.Option("--verify", help="Recompute the hash of every file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what a gallery covers, and how near a perfect model could get with it (in --box or --country if given)."""
    from vidtag_cli.gallery.coverage import measure_coverage
    from vidtag_cli.gallery.store import open_gallery, read_gallery_json

    contract = read_gallery_json(gallery)
    # No model is at hand to compare with: the gallery is opened as one of its own encoder's.
    latlon_deg = open_gallery(gallery, contract.origin.location_encoder_sha256, verify).latlon_deg
    coverage, floor = measure_coverage(latlon_deg), _measured_floor(latlon_deg, box, country)
    if as_json:
        listed = [dataclasses.asdict(share) for share in coverage.countries[:top]]
        facts = {"gallery": dataclasses.asdict(contract), "countries": listed, "floor": dataclasses.asdict(floor)}
        output_json(path_fields(gallery) | facts)
    else:
        output_lines(
            [f"{label:<12}  {printable(text)}" for label, text in _description(contract, coverage, floor, top)]
        )


def _check_choice(**sources: Any) -> None:
    named = [f"--{name}" for name, value in sources.items() if value]
    if len(named) != 1:
        names = ", ".join(f"--{name}" for name in sources)
        raise UsageError(f"{' and '.join(named) or 'no source of points'} given: give exactly one of {names}")


def _check_companions(
    points: Path | None,
    country: str | None,
    box: str | None,
    spacing_km: float | None,
    padding_km: float,
    land_only: bool,
) -> None:
    if points is None and spacing_km is None:
        raise UsageError("a grid needs its step: give --spacing-km, such as --spacing-km 10")
    if points is not None and spacing_km is not None:
        raise UsageError("--points are taken as they are: leave --spacing-km out")
    if padding_km and country is None:
        raise UsageError("--padding-km goes with --country")
    if land_only and box is None:
        raise UsageError("--land-only goes with --box")


def _point_source(
    land: bool,
    box: str | None,
    country: str | None,
    points: Path | None,
    spacing_km: float,
    padding_km: float,
    land_only: bool,
) -> PointSource:
    from vidtag_cli.gallery.point_files import read_points
    from vidtag_cli.gallery.sources import box_points, country_points, land_points

    if points is not None:
        return read_points(points)
    if box is not None:
        return box_points(spacing_km, *_parse_box(box), land_only=land_only)
    if country is not None:
        return country_points(spacing_km, country, padding_km)
    return land_points(spacing_km)


def _measured_floor(latlon_deg: Any, box: str | None, country: str | None) -> Floor:
    from vidtag_cli.gallery.coverage import measure_floor, places_in_box
    from vidtag_cli.geo.land import country_cells, country_names, find_country

    if box is not None and country is not None:
        raise UsageError("--box and --country given: the floor is measured in one area")
    if box is not None:
        south, west, north, east = _parse_box(box)
        places, kind = places_in_box(west, south, east, north)
        return measure_floor(latlon_deg, places, f"{kind} in the box {box}")
    if country is not None:
        index = find_country(country)
        return measure_floor(latlon_deg, country_cells(index), country_names()[index])
    return measure_floor(latlon_deg)


def _parse_box(text: str) -> tuple[float, float, float, float]:
    try:
        south, west, north, east = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--box {text}: give south,west,north,east in degrees, such as 48.8,2.2,48.9,2.5") from error
    if not (-90.0 <= south < north <= 90.0 and -180.0 <= west <= 180.0 and -180.0 <= east <= 180.0 and west != east):
        raise UsageError(f"--box {text}: encloses nothing; the order is south,west,north,east in degrees")
    return south, west, north, east


def _description(contract: GalleryContract, coverage: Coverage, floor: Floor, top: int) -> list[tuple[str, str]]:
    west, south, east, north = coverage.bounding_box_deg
    origin = contract.origin
    lat, lon = floor.farthest_latlon_deg
    shown = coverage.countries[:top]
    rest = len(coverage.countries) - len(shown)
    rows = [
        ("source", origin.source),
        ("model", f"{origin.model_name}, location encoder {origin.location_encoder_sha256}"),
        ("points", f"{coverage.points:,}"),
        ("box", f"south {south:.4f}, west {west:.4f}, north {north:.4f}, east {east:.4f}"),
        ("floor", f"a perfect model gets within {floor.median_km:.3g} km (median), {floor.p95_km:.3g} km (95 %)"),
        ("", f"worst {floor.max_km:.4g} km, at {lat:.4f}, {lon:.4f}; {floor.places:,} places of: {floor.area}"),
    ]
    rows.extend(("country" if not i else "", f"{s.name}: {s.points:,}") for i, s in enumerate(shown))
    return [*rows, ("", f"and {rest} more")] if rest and shown else rows
