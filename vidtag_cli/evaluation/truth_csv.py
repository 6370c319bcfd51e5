"""Fixes from a table with a header: comma, semicolon or tab, columns found by their usual names."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from vidtag_cli.errors import InputError
from vidtag_cli.evaluation.fix import Clock, Fix, checked_fix, number, unix_time_s

LATITUDE_NAMES: Sequence[str] = ("lat", "latitude", "lat_deg", "gps_lat", "gps_latitude")
LONGITUDE_NAMES: Sequence[str] = ("lon", "lng", "long", "longitude", "lon_deg", "gps_lon", "gps_lng", "gps_longitude")
TIME_NAMES: dict[Clock, tuple[str, ...]] = {
    "media_time": ("offset_s", "media_time_s", "time_s", "t_s", "seconds"),
    "utc": ("time_utc", "utc", "time", "datetime", "timestamp"),
    "frame": ("frame", "frame_index", "frame_id"),
}
"""In order of preference: a table of vidtag has all three."""


def read_csv_fixes(path: Path) -> tuple[Clock, list[Fix]]:
    """Return the clock of the best time column and one fix per row; empty lines are passed over."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        try:
            return _read_table(path, stream.read())
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from error


def _read_table(path: Path, text: str) -> tuple[Clock, list[Fix]]:
    header_line = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header_line.count)
    table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip().lower() for name in next(table, [])]
        clock, columns = _columns(path, header)
        fixes = [
            _fix(path, f"line {table.line_num}", row, clock, columns)
            for row in table
            if any(cell.strip() for cell in row)
        ]
    except csv.Error as error:
        raise InputError(f"{path}: line {table.line_num}: {error}") from error
    return clock, fixes


def _columns(path: Path, header: Sequence[str]) -> tuple[Clock, tuple[int, int, int]]:
    """Return the clock and the positions of the columns of time, latitude and longitude."""
    lat, lon = _first_of(LATITUDE_NAMES, header), _first_of(LONGITUDE_NAMES, header)
    if lat is None or lon is None:
        missing = "latitude" if lat is None else "longitude"
        names = LATITUDE_NAMES if lat is None else LONGITUDE_NAMES
        raise InputError(f"{path}: line 1: no column of {missing}: name one of them {' or '.join(names)}")
    for clock, time_names in TIME_NAMES.items():
        time = _first_of(time_names, header)
        if time is not None:
            return clock, (time, lat, lon)
    known = ", ".join(name for names in TIME_NAMES.values() for name in names)
    raise InputError(f"{path}: line 1: no column of time: name one of them {known}")


def _first_of(names: Sequence[str], header: Sequence[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _fix(path: Path, where: str, row: Sequence[str], clock: Clock, columns: tuple[int, int, int]) -> Fix:
    if len(row) <= max(columns):
        raise InputError(f"{path}: {where}: {len(row)} cells, fewer than the header has")
    time_text, lat_text, lon_text = (row[column].strip() for column in columns)
    if clock == "utc":
        instant = unix_time_s(path, where, time_text)
    else:
        instant = number(path, where, "frame index" if clock == "frame" else "media time", time_text)
    if clock == "frame" and (instant < 0 or instant != int(instant)):
        raise InputError(f"{path}: {where}: frame index {time_text!r} is not a whole number from 0")
    return checked_fix(path, where, instant, lat_text, lon_text)
