"""The values of a track as every format writes them: positions, numbers and instants, rounded once for all, and the
statements without which nobody should read them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from vidtag_cli import __version__
from vidtag_cli.geo.antimeridian import split_without_new_points
from vidtag_cli.track import Track, TrackPoint
from vidtag_cli.writers.names import legal_text

COORDINATE_DECIMALS = 6
"""About 0.1 m, far below any radius; RFC 7946 section 11.2 reasons with the same number."""

MEDIA_TIME_DECIMALS = 6
RADIUS_DECIMALS = 1
CONFIDENCE_DECIMALS = 4

METRES_UP_TO, TENTHS_OF_KM_UP_TO = 999.0, 9900.0
"""The largest radii in metres that are said in whole metres and in tenths of a kilometre."""

LIMITATION = "Estimate from image content; not a GNSS fix; not proof of place or of authenticity."
"""The sentence that travels with every track."""


@dataclass(frozen=True, slots=True)
class TrackPart:
    """A span of estimates that may be joined by a line: no abstention and no antimeridian inside."""

    points: tuple[TrackPoint, ...]
    latlon_deg: np.ndarray

    @property
    def is_line(self) -> bool:
        """Return whether the span joins at least two estimates."""
        return len(self.points) > 1


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
    is in one of them. A part with a single point is no line: readers refuse lines of one position.
    """
    parts: list[TrackPart] = []
    for run in track.runs():
        start = 0
        for part_latlon_deg in split_without_new_points(written_latlon(run)):
            end = start + len(part_latlon_deg)
            parts.append(TrackPart(run[start:end], part_latlon_deg))
            start = end
    return tuple(parts)


def instant_text(instant: datetime) -> str:
    """Return ``2024-05-17T09:30:05.033Z``: UTC, always milliseconds, always Z.

    Raises ValueError for an instant without a zone: readers disagree about what it means.
    """
    if instant.tzinfo is None:
        raise ValueError(f"the instant {instant.isoformat()} has no time zone")
    # isoformat cuts digits off, so half a millisecond is added to round.
    rounded = instant.astimezone(UTC) + timedelta(microseconds=500)
    return rounded.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def media_time_text(media_time_s: float) -> str:
    """Return seconds with microseconds."""
    return f"{media_time_s:.{MEDIA_TIME_DECIMALS}f}"


def radius_text(radius_m: float) -> str:
    """Return metres with decimetres."""
    return f"{radius_m:.{RADIUS_DECIMALS}f}"


def size_text(radius_m: float) -> str:
    """Return a radius for people, in the unit that fits: ``950 m``, ``2.4 km``, ``500 km``.

    Rounded up: the text must not promise more than the number beside it.
    """
    if radius_m <= METRES_UP_TO:
        return f"{math.ceil(radius_m)} m"
    if radius_m <= TENTHS_OF_KM_UP_TO:
        return f"{math.ceil(radius_m / 100.0) / 10.0:.1f} km"
    return f"{math.ceil(radius_m / 1000.0)} km"


def confidence_text(confidence: float) -> str:
    """Return a share between 0 and 1 with four decimals."""
    return f"{confidence:.{CONFIDENCE_DECIMALS}f}"


def rounded(value: float | None, decimals: int) -> float | None:
    """Return a plain float for JSON with no more digits than the text formats have; None stays None."""
    return None if value is None else round(float(value), decimals)


def generator_text() -> str:
    """Return the program's name and version."""
    return f"vidtag {__version__}"


def source_text() -> str:
    """Return what kind of data the positions are, for the fields readers show as the source."""
    return f"{generator_text()} image-content estimate"


def limitations_of(track: Track) -> tuple[str, ...]:
    """Return the sentence that holds for every track and then the track's own ones, each once."""
    sentences = (LIMITATION, *(legal_text(sentence) for sentence in track.limitations))
    return tuple(dict.fromkeys(sentences))


def count_text(track: Track) -> str:
    """Return how many frames were analysed, located and abstained."""
    located, analysed = len(track.located()), len(track.points)
    return f"{analysed} frames analysed, {located} located, {analysed - located} abstained"


def time_basis_text(track: Track) -> str:
    """Return where absolute time comes from, and its note."""
    basis = track.time_basis
    text = f"{basis.source} ({basis.note})" if basis.note else basis.source
    return legal_text(text)


def statements_of(track: Track) -> tuple[str, ...]:
    """Return all that a reader must know to judge the track, one statement each, the limitations first."""
    return (
        *limitations_of(track),
        f"Model: {legal_text(track.model_name)}",
        f"Smoothing: {legal_text(track.smoothing)}",
        f"Time basis: {time_basis_text(track)}",
        count_text(track),
    )
