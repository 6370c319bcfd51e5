"""The formats of a track, how a name chooses one, and a track in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vidtag_cli.errors import UsageError
from vidtag_cli.track import Track, check_track
from vidtag_cli.writers.atomic import STDOUT
from vidtag_cli.writers.csv_table import render_csv
from vidtag_cli.writers.geojson import Shape, render_geojson
from vidtag_cli.writers.gpx import render_gpx
from vidtag_cli.writers.kml import render_kml


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """A format of a track; ``label`` names it with its version in the report."""

    name: str
    label: str
    suffixes: tuple[str, ...]
    render: Callable[[Track], bytes]


FORMATS: Mapping[str, OutputFormat] = {
    "gpx": OutputFormat("gpx", "gpx-1.1", (".gpx",), render_gpx),
    "kml": OutputFormat("kml", "kml-2.2+gx", (".kml",), render_kml),
    "geojson": OutputFormat("geojson", "geojson-rfc7946", (".geojson", ".json"), render_geojson),
    "csv": OutputFormat("csv", "csv-rfc4180", (".csv",), render_csv),
}


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """What the report says about an output: the path as given, its format and the SHA-256 of its bytes."""

    path: str
    format_label: str
    sha256: str
    size_bytes: int


def format_of(path: str | Path, explicit: str | None = None) -> OutputFormat:
    """Return the format that ``explicit`` names, or else the one of the path's suffix in any case of letters.

    Raises UsageError for a name or suffix that is not known, and for standard output without a name.
    """
    known = ", ".join(FORMATS)
    if explicit is not None:
        if explicit.lower() not in FORMATS:
            raise UsageError(f"--format {explicit}: unknown format: choose one of {known}")
        return FORMATS[explicit.lower()]
    suffix = Path(path).suffix.lower()
    for candidate in FORMATS.values():
        if suffix in candidate.suffixes:
            return candidate
    if str(path) == STDOUT:
        raise UsageError(f"--out -: standard output has no suffix: add --format with one of {known}")
    raise UsageError(f"--out {path}: no format has the suffix {suffix!r}: add --format with one of {known}")


def render_track(track: Track, output_format: OutputFormat, geojson_shape: Shape = "point") -> bytes:
    """Return the bytes of a track in a format; equal tracks give equal bytes.

    Raises ValueError when the track breaks a rule of ``check_track`` and UsageError for a line in anything but GeoJSON.
    """
    check_track(track)
    if geojson_shape == "point":
        return output_format.render(track)
    if output_format.name != "geojson":
        raise UsageError(f"--geojson-shape {geojson_shape}: the output is {output_format.name}: leave the option out")
    return render_geojson(track, shape=geojson_shape)


def render_output(
    track: Track, path: str | Path, format: str | None = None, geojson_shape: Shape = "point"
) -> tuple[bytes, WrittenFile]:
    """Return the bytes of an output, and what the report says of it; the shape concerns GeoJSON alone.

    Raises UsageError for an unknown format.
    """
    output_format = format_of(path, format)
    content = render_track(track, output_format, geojson_shape if output_format.name == "geojson" else "point")
    return content, WrittenFile(str(path), output_format.label, hashlib.sha256(content).hexdigest(), len(content))
