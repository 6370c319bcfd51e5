"""Fixes from a GeoJSON FeatureCollection of points with a time each, such as vidtag itself writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vidtag_cli.errors import InputError
from vidtag_cli.evaluation.fix import Clock, Fix, checked_fix, number, unix_time_s

MEDIA_TIME_NAMES = ("media_time_s", "offset_s", "time_s")
UTC_NAMES = ("time", "time_utc", "timestamp")


def read_geojson_fixes(path: Path) -> tuple[Clock, list[Fix]]:
    """Return the clock of the first point and one fix per point; features without geometry are passed over."""
    features = [
        (f"feature {place}", feature)
        for place, feature in enumerate(_features(path), start=1)
        if not (isinstance(feature, dict) and feature.get("geometry", False) is None)
    ]
    if not features:
        return "media_time", []
    clock: Clock = "media_time" if _property(features[0][1], MEDIA_TIME_NAMES) is not None else "utc"
    return clock, [_fix(path, where, feature, clock) for where, feature in features]


def _features(path: Path) -> list[Any]:
    try:
        document = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list):
        raise InputError(f"{path}: not a GeoJSON FeatureCollection")
    return features


def _property(feature: Any, names: tuple[str, ...]) -> Any:
    properties = feature.get("properties") if isinstance(feature, dict) else None
    if not isinstance(properties, dict):
        return None
    return next((properties[name] for name in names if properties.get(name) is not None), None)


def _fix(path: Path, where: str, feature: Any, clock: Clock) -> Fix:
    geometry = feature.get("geometry") if isinstance(feature, dict) else None
    if not isinstance(geometry, dict) or geometry.get("type") != "Point":
        raise InputError(f"{path}: {where}: not a Point: a truth is one Point feature per position")
    coordinates = geometry.get("coordinates")
    if not isinstance(coordinates, list) or len(coordinates) < 2:
        raise InputError(f"{path}: {where}: a Point needs [longitude, latitude]")
    names = MEDIA_TIME_NAMES if clock == "media_time" else UTC_NAMES
    time = _property(feature, names)
    if time is None:
        raise InputError(f"{path}: {where}: has none of the properties {', '.join(names)}")
    text = str(time)
    instant = number(path, where, "media time", text) if clock == "media_time" else unix_time_s(path, where, text)
    return checked_fix(path, where, instant, str(coordinates[1]), str(coordinates[0]))
