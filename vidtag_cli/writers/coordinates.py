"""Positions as they are written: rounded once for all formats, and cut where a line would run round the globe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidtag_cli.geo.antimeridian import split_without_new_points
from vidtag_cli.track import Track, TrackPoint

COORDINATE_DECIMALS = 6
"""About 0.1 m, far below any radius; RFC 7946 section 11.2 reasons with the same number."""


@dataclass(frozen=True, slots=True)
class TrackPart:
    """A span of estimates that may be joined by a line: no abstention and no antimeridian inside."""

    points: tuple[TrackPoint, ...]
    latlon_deg: np.ndarray


def written_latlon(points: Sequence[TrackPoint]) -> np.ndarray:
    """Return (N, 2) float64 degrees as they are written: rounded, longitude in [-180, 180), no negative zero.

    Rounding comes before anything is cut: 179.9999999 is written as -180 and belongs to the western side.
    """
    latlon_deg = np.array([(point.lat_deg, point.lon_deg) for point in points], dtype=np.float64).reshape(-1, 2)
    latlon_deg = np.round(latlon_deg, COORDINATE_DECIMALS) + 0.0
    latlon_deg[latlon_deg[:, 1] >= 180.0, 1] = -180.0
    return latlon_deg


def degree_text(degrees: float) -> str:
    """Return degrees with six decimals."""
    return f"{degrees:.{COORDINATE_DECIMALS}f}"


def track_parts(track: Track) -> tuple[TrackPart, ...]:
    """Return the spans of a track cut at every abstention, between shots and at the antimeridian; every located point
    is in one of them.
    """
    parts: list[TrackPart] = []
    for run in track.runs():
        start = 0
        for part_latlon_deg in split_without_new_points(written_latlon(run)):
            end = start + len(part_latlon_deg)
            parts.append(TrackPart(run[start:end], part_latlon_deg))
            start = end
    return tuple(parts)
