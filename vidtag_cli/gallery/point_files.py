"""Reading points from CSV, GPX and GeoJSON files, which may come from anywhere and are not trusted."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vidtag_cli.errors import InputError
from vidtag_cli.gallery.sources import PointSource

LATITUDE_NAMES = frozenset({"lat", "latitude", "lat_deg", "latitude_deg", "gps_lat", "gps_latitude"})
LONGITUDE_NAMES = frozenset({"lon", "lng", "long", "longitude", "lon_deg", "longitude_deg", "gps_lon", "gps_longitude"})

LocatedValue = tuple[str, Any, Any]
"""Where a point stands in its file ("line 12"), its latitude and its longitude as written there."""

LISTED_PLACES = 5


def read_points(path: str | Path) -> PointSource:
    """Return the points of a ``.csv``, ``.tsv``, ``.gpx``, ``.geojson`` or ``.json`` file in its order.

    Points at exactly 0, 0 are a missing value far more often than a place in the Gulf of Guinea: they are left out and
    reported in ``warnings``. Raises InputError with the line for anything that is not a latitude and longitude.
    """
    file = Path(path)
    readers: dict[str, Callable[[bytes], Iterator[LocatedValue]]] = {
        ".csv": _csv_points, ".tsv": _csv_points, ".txt": _csv_points,
        ".gpx": _gpx_points, ".geojson": _geojson_points, ".json": _geojson_points,
    }  # fmt: skip
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise InputError(f"{file}: points are read from .csv, .tsv, .gpx and .geojson files, not from {file.suffix!r}")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    points, null_islands = [], []
    try:
        for where, lat, lon in reader(content):
            point = _checked_point(where, lat, lon)
            if point == (0.0, 0.0):
                null_islands.append(where)
            else:
                points.append(point)
    except (_MalformedError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: {error}") from error
    if not points:
        raise InputError(f"{file}: holds no point")
    warnings = (_null_island_warning(file, null_islands),) if null_islands else ()
    return PointSource(np.array(points, dtype=np.float64), f"points of {file.name}", warnings=warnings)


class _MalformedError(Exception):
    """What is wrong in a file, and where; the path is put before it in one place."""


def _checked_point(where: str, lat: Any, lon: Any) -> tuple[float, float]:
    lat_deg, lon_deg = _number(where, "latitude", lat), _number(where, "longitude", lon)
    if not -90.0 <= lat_deg <= 90.0:
        swapped = " (are latitude and longitude swapped?)" if abs(lat_deg) <= 180.0 and abs(lon_deg) <= 90.0 else ""
        raise _MalformedError(f"{where}: latitude {lat_deg:g} is not within [-90, 90]{swapped}")
    if not -180.0 <= lon_deg <= 180.0:
        raise _MalformedError(f"{where}: longitude {lon_deg:g} is not within [-180, 180]")
    return lat_deg, lon_deg


def _number(where: str, what: str, value: Any) -> float:
    if isinstance(value, bool) or value is None or value == "":
        raise _MalformedError(f"{where}: there is no {what}")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise _MalformedError(f"{where}: {what} {str(value)[:40]!r} is not a number of degrees") from None
    if not math.isfinite(number):
        raise _MalformedError(f"{where}: {what} {str(value)[:40]!r} is not a finite number")
    return number


def _null_island_warning(file: Path, places: list[str]) -> str:
    listed = ", ".join(places[:LISTED_PLACES]) + (", ..." if len(places) > LISTED_PLACES else "")
    return f"{file}: {len(places)} of its points at exactly 0, 0 left out as missing values ({listed})"


def _csv_points(content: bytes) -> Iterator[LocatedValue]:
    text = content.decode("utf-8-sig")
    header_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = [name.strip().casefold() for name in next(reader, [])]
    lat_column = _column(header, LATITUDE_NAMES, "latitude")
    lon_column = _column(header, LONGITUDE_NAMES, "longitude")
    for row in reader:
        if any(cell.strip() for cell in row):
            cells = [row[column].strip() if column < len(row) else "" for column in (lat_column, lon_column)]
            yield f"line {reader.line_num}", cells[0], cells[1]


def _column(header: list[str], names: frozenset[str], what: str) -> int:
    columns = [column for column, name in enumerate(header) if name in names]
    if len(columns) == 1:
        return columns[0]
    found = "no column" if not columns else "more than one column"
    raise _MalformedError(f"line 1: {found} of {what}; name exactly one of the columns {', '.join(sorted(names))}")


def _gpx_points(content: bytes) -> Iterator[LocatedValue]:
    from lxml import etree

    # Entities and outside files are how a hostile XML file reads the disk, calls home or fills the memory.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise _MalformedError(f"not well-formed XML: {error}") from error
    if etree.QName(root).localname != "gpx":
        raise _MalformedError(f"line {root.sourceline}: the root element is <{etree.QName(root).localname}>, not <gpx>")
    for element in root.iter("{*}wpt", "{*}rtept", "{*}trkpt"):
        yield f"line {element.sourceline}", element.get("lat"), element.get("lon")


def _geojson_points(content: bytes) -> Iterator[LocatedValue]:
    try:
        document = json.loads(content.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise _MalformedError(f"line {error.lineno}: not valid JSON: {error.msg}") from error
    except RecursionError as error:
        raise _MalformedError("nested too deeply to be GeoJSON") from error
    if not isinstance(document, dict):
        raise _MalformedError("not a GeoJSON object")
    features = document.get("features") if document.get("type") == "FeatureCollection" else [document]
    if not isinstance(features, list):
        raise _MalformedError("the FeatureCollection has no list of features")
    for number, feature in enumerate(features, start=1):
        where = f"feature {number}"
        if not isinstance(feature, dict):
            raise _MalformedError(f"{where}: not a GeoJSON object")
        yield from _geometry_points(where, feature.get("geometry") if feature.get("type") == "Feature" else feature)


def _geometry_points(where: str, geometry: Any) -> Iterator[LocatedValue]:
    if geometry is None:  # RFC 7946 allows it: an abstained frame, for one
        return
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind == "GeometryCollection" and isinstance(geometry.get("geometries"), list):
        for part in geometry["geometries"]:
            yield from _geometry_points(where, part)
        return
    depth = {"Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2}.get(str(kind))
    if depth is None:
        raise _MalformedError(f"{where}: points and lines are read, not {str(kind)[:40]!r}")
    for position in _positions(where, geometry.get("coordinates"), depth):
        if not isinstance(position, list) or len(position) < 2:
            raise _MalformedError(f"{where}: {str(position)[:40]} is not a position [longitude, latitude]")
        yield where, position[1], position[0]


def _positions(where: str, coordinates: Any, depth: int) -> Iterator[Any]:
    if depth == 0:
        yield coordinates
        return
    if not isinstance(coordinates, list):
        raise _MalformedError(f"{where}: coordinates are not a list")
    for part in coordinates:
        yield from _positions(where, part, depth - 1)


def _refuse_constant(text: str) -> Any:
    raise _MalformedError(f"{text} is not a JSON number")
