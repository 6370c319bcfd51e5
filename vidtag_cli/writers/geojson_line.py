"""The track as one GeoJSON MultiLineString, cut at abstentions, between shots and at the antimeridian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vidtag_cli.geo.antimeridian import split_line_at_antimeridian
from vidtag_cli.geo.sphere import wrap_longitude_deg
from vidtag_cli.track import Track, TrackPoint
from vidtag_cli.writers.coordinates import COORDINATE_DECIMALS, written_latlon
from vidtag_cli.writers.text import CONFIDENCE_DECIMALS, MEDIA_TIME_DECIMALS, RADIUS_DECIMALS, instant_text, rounded

SAME_PLACE_DEG = 1e-8
"""Wrapping moves a longitude by rounding errors of 1e-13; written positions that differ do so by at least 1e-6."""


def line_feature(track: Track) -> dict[str, Any]:
    """Return one Feature whose ``coordinateProperties`` run beside the vertices, nested like the coordinates.

    A vertex computed on the antimeridian is no estimate: its values are null. An estimate alone between abstentions
    has no line; its frame is listed in ``frames_without_line``. With no line at all the geometry is null.
    """
    lines: list[list[list[float]]] = []
    vertex_points: list[list[TrackPoint | None]] = []
    alone: list[int] = []
    for run in track.runs():
        if len(run) == 1:
            alone.append(int(run[0].frame_index))
            continue
        latlon_deg = written_latlon(run)
        parts = [part for part in split_line_at_antimeridian(latlon_deg) if len(part) > 1]
        lines += [_coordinates(part) for part in parts]
        vertex_points += _points_of_vertices(run, latlon_deg, parts)
    geometry = {"type": "MultiLineString", "coordinates": lines} if lines else None
    properties = {
        "frames_without_line": alone,
        "coordinateProperties": _coordinate_properties(track, vertex_points),
    }
    return {"type": "Feature", "id": "track", "geometry": geometry, "properties": properties}


def _coordinates(part_latlon_deg: np.ndarray) -> list[list[float]]:
    return [[lon, lat] for lat, lon in np.round(part_latlon_deg, COORDINATE_DECIMALS).tolist()]


def _points_of_vertices(
    run: Sequence[TrackPoint], latlon_deg: np.ndarray, parts: Sequence[np.ndarray]
) -> list[list[TrackPoint | None]]:
    """Return for every vertex of every part its estimate, or None for a computed crossing."""
    position = 0
    nested: list[list[TrackPoint | None]] = []
    for part in parts:
        row: list[TrackPoint | None] = []
        for vertex in part:
            is_estimate = position < len(run) and _is_same_place(vertex, latlon_deg[position])
            row.append(run[position] if is_estimate else None)
            position += is_estimate
        nested.append(row)
    return nested


def _is_same_place(vertex_latlon_deg: np.ndarray, latlon_deg: np.ndarray) -> bool:
    # -180 and 180 are one meridian: the cut writes an estimate that lies on it with the sign of its side.
    lat_step, lon_step = vertex_latlon_deg - latlon_deg
    return abs(lat_step) < SAME_PLACE_DEG and abs(wrap_longitude_deg(lon_step)) < SAME_PLACE_DEG


def _coordinate_properties(track: Track, nested: Sequence[Sequence[TrackPoint | None]]) -> dict[str, Any]:
    def rows(value_of: Callable[[TrackPoint], object]) -> list[list[object]]:
        return [[None if point is None else value_of(point) for point in row] for row in nested]

    values = {
        "frame": rows(lambda point: int(point.frame_index)),
        "media_time_s": rows(lambda point: round(float(point.media_time_s), MEDIA_TIME_DECIMALS)),
        "radius95_m": rows(lambda point: rounded(point.radius95_m, RADIUS_DECIMALS)),
        "confidence": rows(lambda point: rounded(point.confidence, CONFIDENCE_DECIMALS)),
        "shot": rows(lambda point: int(point.shot)),
    }
    if track.time_basis.start_time_utc is not None:
        values["times"] = rows(lambda point: _time(track, point))
    return values


def _time(track: Track, point: TrackPoint) -> str | None:
    instant = track.time_utc(point)
    return None if instant is None else instant_text(instant)
