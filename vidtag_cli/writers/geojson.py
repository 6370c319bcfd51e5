"""GeoJSON (RFC 7946): points by default, one feature a frame; a line on request.

An abstention is a feature without geometry, so a reader still counts every frame. Points and a line are never mixed:
GIS programs take such a collection for a point layer and drop the line.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from vidtag_cli.geo.antimeridian import bounding_box
from vidtag_cli.track import Track, TrackPoint
from vidtag_cli.writers.coordinates import COORDINATE_DECIMALS, written_latlon
from vidtag_cli.writers.geojson_line import line_feature
from vidtag_cli.writers.provenance import generator_text, limitations_of, source_text
from vidtag_cli.writers.text import (
    CONFIDENCE_DECIMALS,
    MEDIA_TIME_DECIMALS,
    RADIUS_DECIMALS,
    instant_text,
    legal_text,
    rounded,
)

Shape = Literal["point", "line"]


def render_geojson(track: Track, shape: Shape = "point") -> bytes:
    """Return a FeatureCollection of a track that passed ``check_track``, one feature a line of text, UTF-8.

    The member ``vidtag`` beside ``features`` holds what a reader must know to judge the track.
    """
    head: dict[str, Any] = {"type": "FeatureCollection", "vidtag": _provenance(track)}
    located = track.located()
    if located:
        head["bbox"] = [round(float(edge), COORDINATE_DECIMALS) for edge in bounding_box(written_latlon(located))]
    features = [line_feature(track)] if shape == "line" else _point_features(track)
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
    if point.abstain_reason is not None:
        properties["abstain_reason"] = legal_text(point.abstain_reason)
    return properties
