"""CSV (RFC 4180): one row per estimate, for spreadsheets, GDAL and GPSBabel.

Abstained frames are left out unless they are asked for: GPSBabel reads an empty position as 1e25 degrees. The media
time is called ``offset_s`` because GPSBabel stops at a column named ``media_time_s``. No cell begins with a text from
outside, so none can start a formula: the caveats, which stand in every row since a table has no other place for them,
begin with this program's own sentence.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from vidtag_cli.track import Track, TrackPoint
from vidtag_cli.writers.names import legal_text
from vidtag_cli.writers.values import (
    confidence_text,
    degree_text,
    instant_text,
    limitations_of,
    media_time_text,
    radius_text,
    written_latlon,
)

COLUMNS = ("frame", "offset_s", "time_utc", "lat", "lon", "radius50_m", "radius95_m", "confidence", "shot")
STATUS_COLUMNS = ("status", "abstain_reason")
CAVEATS_COLUMN = "caveats"


def render_csv(track: Track, with_abstained: bool = False) -> bytes:
    """Return the table in UTF-8 without a byte order mark, lines ending in CRLF; unknown values are empty cells.

    With ``with_abstained`` there is a row for every frame, and two columns more that say what became of it.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\r\n")
    status_columns = STATUS_COLUMNS if with_abstained else ()
    table.writerow([*COLUMNS, *status_columns, CAVEATS_COLUMN])
    caveats = " ".join(limitations_of(track))
    positions = iter(written_latlon(track.located()).tolist())
    for point in track.points:
        position = [degree_text(degrees) for degrees in next(positions)] if point.status == "ok" else ["", ""]
        row = _row(track, point, position)
        if with_abstained:
            table.writerow([*row, point.status, legal_text(point.abstain_reason or ""), caveats])
        elif point.status == "ok":
            table.writerow([*row, caveats])
    return text.getvalue().encode("utf-8")


def _row(track: Track, point: TrackPoint, position: Sequence[str]) -> list[str]:
    instant = track.time_utc(point)
    return [
        str(point.frame_index),
        media_time_text(point.media_time_s),
        "" if instant is None else instant_text(instant),
        *position,
        "" if point.radius50_m is None else radius_text(point.radius50_m),
        "" if point.radius95_m is None else radius_text(point.radius95_m),
        "" if point.confidence is None else confidence_text(point.confidence),
        str(point.shot),
    ]
