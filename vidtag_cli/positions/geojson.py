"""Positions of GeoJSON (RFC 7946): points, with times among their properties, and lines, whose vertices have none."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from vidtag_cli.positions.columns import ALL_TIME_NAMES, TIME_NAMES, time_column
from vidtag_cli.positions.contents import Contents
from vidtag_cli.positions.own_mark import json_mark, table_mark
from vidtag_cli.positions.position import (
    MAX_NUMBER_CHARACTERS,
    Clock,
    MalformedError,
    Position,
    checked_position,
    shown,
)
from vidtag_cli.positions.text import decoded_text

LIST_DEPTH = {"Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2}
"""How deep the positions of a geometry lie in lists."""

Feature = tuple[str, dict[str, Any], Any]
"""Where a feature stands in its file, its properties by lower-case name, and its geometry."""


def read_geojson(content: bytes) -> Contents:
    """Return the positions of all features; the clock is that of the first one with a geometry.

    Raises MalformedError with the feature where there is one.
    """
    document = _parsed(content)
    mark = json_mark(document)
    if mark is not None and document.get("type") != "FeatureCollection":
        return Contents("geojson", None, [], mark)  # a record or a result, whose positions nobody needs
    features = list(_features(document))
    first = next((properties for _, properties, geometry in features if geometry is not None), {})
    mark = mark or table_mark(first)
    present = [name for name in first if first[name] is not None]
    try:
        timed = time_column(present)
    except MalformedError as error:
        raise MalformedError(str(error).replace("column of", "property of")) from None
    clock = None if timed is None else timed[0]
    positions = [position for feature in features for position in _positions(feature, clock)]
    return Contents("geojson", clock, positions, mark, f"has none of the properties {', '.join(ALL_TIME_NAMES)}")


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        # Numbers of any length become floats: Python's integers refuse more than 4,300 digits.
        document = json.loads(
            decoded_text(content), parse_int=_number, parse_float=_number, parse_constant=_refuse_constant,
            object_pairs_hook=_unique_members,
        )  # fmt: skip
    except json.JSONDecodeError as error:
        raise MalformedError(f"line {error.lineno}: not valid JSON: {error.msg}") from error
    except RecursionError as error:
        raise MalformedError("nested too deeply to be GeoJSON") from error
    if not isinstance(document, dict):
        raise MalformedError("not a GeoJSON object")
    return document


def _number(text: str) -> float | str:
    return float(text) if len(text) <= MAX_NUMBER_CHARACTERS else text


def _refuse_constant(text: str) -> Any:
    raise MalformedError(f"{text} is not a JSON number")


def _unique_members(members: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in members]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedError(f"an object has the member {shown(twice)} twice: which one is meant?")
    return dict(members)


def _features(document: dict[str, Any]) -> Iterator[Feature]:
    features = document.get("features") if document.get("type") == "FeatureCollection" else [document]
    if not isinstance(features, list):
        raise MalformedError("the FeatureCollection has no list of features")
    for number, feature in enumerate(features, start=1):
        where = f"feature {number}"
        if not isinstance(feature, dict):
            raise MalformedError(f"{where}: not a GeoJSON object")
        if feature.get("type") == "Feature":
            properties = feature.get("properties")
            named = properties if isinstance(properties, dict) else {}
            yield where, {name.strip().casefold(): value for name, value in named.items()}, feature.get("geometry")
        else:
            yield where, {}, feature


def _positions(feature: Feature, clock: Clock | None) -> Iterator[Position]:
    where, properties, geometry = feature
    names = () if clock is None else TIME_NAMES[clock]
    time = next((properties[name] for name in names if properties.get(name) is not None), None)
    if not (time is None or isinstance(time, str | float)):
        raise MalformedError(f"{where}: the time {shown(time)} is neither a text nor a number")
    if geometry is None:  # RFC 7946 allows it: a frame without an estimate, for one
        yield Position(where, math.nan, math.nan, time, fault="unlocated")
        return
    for kind, position in _vertices(where, geometry):
        if position is None or position == []:
            position = [None, None]
        if not isinstance(position, list) or len(position) < 2:
            raise MalformedError(f"{where}: {shown(position)} is not a position [longitude, latitude]")
        yield checked_position(where, position[1], position[0], time if kind == "Point" else None)


def _vertices(where: str, geometry: Any) -> Iterator[tuple[str, Any]]:
    """Yield the kind of geometry and one of its positions, for each of them."""
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind == "GeometryCollection" and isinstance(geometry.get("geometries"), list):
        for part in geometry["geometries"]:
            yield from _vertices(where, part)
        return
    depth = LIST_DEPTH.get(kind) if isinstance(kind, str) else None
    if depth is None:
        raise MalformedError(f"{where}: points and lines are read, not {shown(kind)}")
    for position in _flattened(where, geometry.get("coordinates"), depth):
        yield str(kind), position


def _flattened(where: str, coordinates: Any, depth: int) -> Iterator[Any]:
    if depth == 0:
        yield coordinates
        return
    if not isinstance(coordinates, list):
        raise MalformedError(f"{where}: coordinates are not a list")
    for part in coordinates:
        yield from _flattened(where, part, depth - 1)
