"""GeoJSON (RFC 7946): points by default, one feature a frame; a line on request.

An abstention is a feature without geometry, so a reader still counts every frame. Points and a line are never mixed:
GIS programs take such a collection for a point layer and drop the line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vidtag_cli.geo.antimeridian import bounding_box, split_line_at_antimeridian
from vidtag_cli.geo.sphere import wrap_longitude_deg
from vidtag_cli.track import Track, TrackPoint
from vidtag_cli.writers.answer import answer_record
from vidtag_cli.writers.names import legal_text
from vidtag_cli.writers.values import (
    CONFIDENCE_DECIMALS,
    COORDINATE_DECIMALS,
    MEDIA_TIME_DECIMALS,
    RADIUS_DECIMALS,
    generator_text,
    instant_text,
    limitations_of,
    rounded,
    source_text,
    written_latlon,
)

Shape = Literal["point", "line"]

SAME_PLACE_DEG = 1e-8
"""Wrapping moves a longitude by rounding errors of 1e-13; written positions that differ do so by at least 1e-6."""


def render_geojson(track: Track, shape: Shape = "point") -> bytes:
    """Return a FeatureCollection of a track that passed ``check_track``, one feature a line of text, UTF-8.

    The member ``vidtag`` beside ``features`` holds what a reader must know to judge the track. The box is that of the
    positions written, with those of a line where it meets the antimeridian.
    """
    head: dict[str, Any] = {"type": "FeatureCollection", "vidtag": _provenance(track)}
    latlon_deg = written_latlon(track.located())
    features = _point_features(track)
    if shape == "line":
        parts = _line_parts(track)
        features = [_line_feature(track, parts)]
        latlon_deg = np.concatenate([latlon_deg, *(part.latlon_deg for part in parts)])
    if len(latlon_deg):
        head["bbox"] = [round(float(edge), COORDINATE_DECIMALS) for edge in bounding_box(latlon_deg)]
    lines = ",\n".join(_json_text(feature) for feature in features)
    return f'{_json_text(head)[:-1]},"features":[\n{lines}\n]}}\n'.encode()


def _json_text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _provenance(track: Track) -> dict[str, Any]:
    basis = track.time_basis
    return {
        "name": legal_text(track.name),
        "generator": generator_text(),
        "source": source_text(),
        "model": legal_text(track.model_name),
        "smoothing": legal_text(track.smoothing),
        "time_basis": {
            "source": legal_text(basis.source),
            "note": None if basis.note is None else legal_text(basis.note),
        },
        "limitations": list(limitations_of(track)),
        "frames": len(track.points),
        "located": len(track.located()),
        "answer": answer_record(track),
    }


def _point_features(track: Track) -> list[dict[str, Any]]:
    positions = iter(written_latlon(track.located()).tolist())
    features = []
    for point in track.points:
        geometry = None
        if point.status == "ok":
            lat_deg, lon_deg = next(positions)
            geometry = {"type": "Point", "coordinates": [lon_deg, lat_deg]}
        properties = _properties(track, point)
        features.append(
            {"type": "Feature", "id": f"frame-{point.frame_index}", "geometry": geometry, "properties": properties}
        )
    return features


def _properties(track: Track, point: TrackPoint) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "frame": int(point.frame_index),
        "media_time_s": round(float(point.media_time_s), MEDIA_TIME_DECIMALS),
    }
    instant = track.time_utc(point)
    if instant is not None:
        properties["time"] = instant_text(instant)
    properties["radius50_m"] = rounded(point.radius50_m, RADIUS_DECIMALS)
    properties["radius95_m"] = rounded(point.radius95_m, RADIUS_DECIMALS)
    properties["confidence"] = rounded(point.confidence, CONFIDENCE_DECIMALS)
    properties["shot"] = int(point.shot)
    properties["status"] = point.status
    if point.repeats_frame is not None:
        properties["repeats_frame"] = int(point.repeats_frame)
    if point.abstain_reason is not None:
        properties["abstain_reason"] = legal_text(point.abstain_reason)
    return properties


@dataclass(frozen=True, slots=True)
class _LinePart:
    """One line: its vertices (V, 2) in degrees and for each the estimate there, None where there is none."""

    latlon_deg: np.ndarray
    points: list[TrackPoint | None]


def _line_parts(track: Track) -> list[_LinePart]:
    """Return the lines of a track, cut at abstentions, between shots and at the antimeridian.

    An estimate that stands alone becomes a line from its place to its place, so that no position is lost: a line needs
    two positions, and a point beside lines would hide them from GIS programs.
    """
    parts = []
    for run in track.runs():
        latlon_deg = written_latlon(run)
        if len(run) == 1:
            parts.append(_LinePart(np.repeat(latlon_deg, 2, axis=0), [run[0], None]))
            continue
        lines = [line for line in split_line_at_antimeridian(latlon_deg) if len(line) > 1]
        points = _points_of_vertices(run, latlon_deg, lines)
        parts += [_LinePart(np.round(line, COORDINATE_DECIMALS), row) for line, row in zip(lines, points, strict=True)]
    return parts


def _line_feature(track: Track, parts: Sequence[_LinePart]) -> dict[str, Any]:
    """Return one Feature whose ``coordinateProperties`` run beside the vertices, nested like the coordinates.

    A vertex that is no estimate, computed on the antimeridian or the second one of an estimate that stands alone, has
    null values. With no line at all the geometry is null.
    """
    lines = [[[lon, lat] for lat, lon in part.latlon_deg.tolist()] for part in parts]
    properties = {
        "frames_without_line": [int(run[0].frame_index) for run in track.runs() if len(run) == 1],
        "coordinateProperties": _coordinate_properties(track, [part.points for part in parts]),
    }
    geometry = {"type": "MultiLineString", "coordinates": lines} if lines else None
    return {"type": "Feature", "id": "track", "geometry": geometry, "properties": properties}


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
        "radius50_m": rows(lambda point: rounded(point.radius50_m, RADIUS_DECIMALS)),
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
