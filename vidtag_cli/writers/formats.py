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
class WrittenFile:
    """What the report says about an output: the path as given, its format and the SHA-256 of its bytes.

    ``frames_left_out`` counts the analysed frames that are not in it: those that abstained have no position to write.
    """

    path: str
    format_label: str
    sha256: str
    size_bytes: int
    frames_left_out: int


@dataclass(frozen=True, slots=True)
class FormatOptions:
    """How a format is written where there is a choice: the shape of GeoJSON, and whether CSV has a row for a frame that
    abstained.
    """

    geojson_shape: Shape = "point"
    csv_abstained: bool = False

    def all_frames_in(self, format_name: str) -> bool:
        """Return whether an output of that format holds the frames that abstained too."""
        return {"geojson": self.geojson_shape == "point", "csv": self.csv_abstained}.get(format_name, False)


DEFAULT_OPTIONS = FormatOptions()


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """A format of a track; ``label`` names it with its version in the report."""

    name: str
    label: str
    suffixes: tuple[str, ...]
    render: Callable[[Track, FormatOptions], bytes]


FORMATS: Mapping[str, OutputFormat] = {
    "gpx": OutputFormat("gpx", "gpx-1.1", (".gpx",), lambda track, _: render_gpx(track)),
    "kml": OutputFormat("kml", "kml-2.2+gx", (".kml",), lambda track, _: render_kml(track)),
    "geojson": OutputFormat(
        "geojson", "geojson-rfc7946", (".geojson", ".json"),
        lambda track, options: render_geojson(track, options.geojson_shape),
    ),
    "csv": OutputFormat(
        "csv", "csv-rfc4180", (".csv",), lambda track, options: render_csv(track, options.csv_abstained)
    ),
}  # fmt: skip


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


def render_track(track: Track, output_format: OutputFormat, options: FormatOptions = DEFAULT_OPTIONS) -> bytes:
    """Return the bytes of a track in a format; equal tracks give equal bytes.

    Raises ValueError when the track breaks a rule of ``check_track``.
    """
    check_track(track)
    return output_format.render(track, options)


def render_output(
    track: Track, path: str | Path, format: str | None = None, options: FormatOptions = DEFAULT_OPTIONS
) -> tuple[bytes, WrittenFile]:
    """Return the bytes of an output, and what the report says of it.

    Raises UsageError for an unknown format.
    """
    output_format = format_of(path, format)
    content = render_track(track, output_format, options)
    abstained = 0 if options.all_frames_in(output_format.name) else len(track.points) - len(track.located())
    sha256 = hashlib.sha256(content).hexdigest()
    return content, WrittenFile(str(path), output_format.label, sha256, len(content), abstained)
