"""CSV (RFC 4180): one row per estimate, for spreadsheets, GDAL and GPSBabel.

Abstained frames are left out: GPSBabel reads an empty position as 1e25 degrees. The media time is called ``offset_s``
because GPSBabel stops at a column named ``media_time_s``. There is no text column, so no cell can start a formula.
"""

from __future__ import annotations

import csv
import io

from vidtag_cli.track import Track, TrackPoint
from vidtag_cli.writers.values import (
    confidence_text,
    degree_text,
    instant_text,
    media_time_text,
    radius_text,
    written_latlon,
)

COLUMNS = ("frame", "offset_s", "time_utc", "lat", "lon", "radius50_m", "radius95_m", "confidence", "shot")


def render_csv(track: Track) -> bytes:
    """Return the table in UTF-8 without a byte order mark, lines ending in CRLF; unknown values are empty cells."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(COLUMNS)
    located = track.located()
    for point, (lat_deg, lon_deg) in zip(located, written_latlon(located), strict=True):
        table.writerow(_row(track, point, lat_deg, lon_deg))
    return text.getvalue().encode("utf-8")


def _row(track: Track, point: TrackPoint, lat_deg: float, lon_deg: float) -> tuple[str, ...]:
    instant = track.time_utc(point)
    return (
        str(point.frame_index),
        media_time_text(point.media_time_s),
        "" if instant is None else instant_text(instant),
        degree_text(lat_deg),
        degree_text(lon_deg),
        "" if point.radius50_m is None else radius_text(point.radius50_m),
        "" if point.radius95_m is None else radius_text(point.radius95_m),
        "" if point.confidence is None else confidence_text(point.confidence),
        str(point.shot),
    )
