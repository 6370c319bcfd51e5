"""The names under which files give latitude, longitude and time: columns of a table, properties of a feature."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from vidtag_cli.positions.position import Clock, MalformedError

LATITUDE_NAMES = ("lat", "latitude", "lat_deg", "latitude_deg", "gps_lat", "gps_latitude")
LONGITUDE_NAMES = (
    "lon", "lng", "long", "longitude", "lon_deg", "longitude_deg", "gps_lon", "gps_lng", "gps_longitude",
)  # fmt: skip
TIME_NAMES: dict[Clock, tuple[str, ...]] = {
    "media_time": ("offset_s", "media_time_s", "time_s", "t_s", "seconds"),
    "utc": ("time_utc", "utc", "time", "datetime", "timestamp"),
    "frame": ("frame", "frame_index", "frame_id"),
}
"""Clocks in order of preference: a table may have all three."""

ALL_TIME_NAMES = tuple(name for names in TIME_NAMES.values() for name in names)


def only_column(header: Sequence[str], names: Collection[str], what: str) -> int | None:
    """Return the column whose name is among ``names``, or None. Raises MalformedError that lists them when there are
    several: which one is meant is the user's to say.
    """
    columns = [column for column, name in enumerate(header) if name in names]
    if len(columns) > 1:
        listed = ", ".join(f"{header[column]!r} (column {column + 1})" for column in columns)
        raise MalformedError(f"more than one column of {what}: {listed}: keep the one that is meant")
    return columns[0] if columns else None


def time_column(header: Sequence[str]) -> tuple[Clock, int] | None:
    """Return the best clock of a header and its column, or None. Raises MalformedError for two columns of one clock."""
    for clock, names in TIME_NAMES.items():
        column = only_column(header, names, "time")
        if column is not None:
            return clock, column
    return None
