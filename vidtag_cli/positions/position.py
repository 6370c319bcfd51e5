"""One position as a file gives it, and the checks that every format shares."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

Clock = Literal["media_time", "utc", "frame"]
"""Seconds of media time, instants with a zone, or the index of a frame."""

Kind = Literal["track", "route", "waypoint"]
"""What a point is part of; where a format knows no difference, of a track."""

Fault = Literal["empty", "unlocated", "null_island", "no_fix", "no_lock", "lock_2d", "lock_unknown", "dilution"]

FAULT_WORDS: dict[Fault, str] = {
    "empty": "without a position",
    "unlocated": "without a geometry",
    "null_island": "at 0, 0",
    "no_fix": "marked as no fix",
    "no_lock": "without a lock",
    "lock_2d": "with a 2D lock only",
    "lock_unknown": "without word of a lock",
    "dilution": "with a dilution of precision above 10",
}
"""Why an entry of a file is no position that can be used."""

NULL_ISLAND_DEG = 1e-6
"""Receivers without a fix write (0, 0). The place is open sea 600 km off Africa: no camera is lost by refusing it."""

NO_VALUE = frozenset({"", "-", "nan", "null", "none", "na", "n/a"})
"""What tables hold in place of a number that is not there."""

MAX_NUMBER_CHARACTERS = 64
SHOWN_CHARACTERS = 40

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


class MalformedError(Exception):
    """What is wrong in a file, and where in it; the path is put before it in one place."""


@dataclass(frozen=True, slots=True)
class Position:
    """One entry of a file: its place there for messages ("line 12"), latitude and longitude in degrees as written.

    ``time`` is what the file says of its instant, by the clock of the file. Entries of one ``segment`` belong together:
    between two segments the way is unknown. With a ``fault`` the position does not count, and may be NaN.
    """

    where: str
    lat_deg: float
    lon_deg: float
    time: str | float | None = None
    segment: int = 0
    kind: Kind = "track"
    fault: Fault | None = None


def checked_position(
    where: str,
    lat: Any,
    lon: Any,
    time: str | float | None = None,
    segment: int = 0,
    kind: Kind = "track",
    fault: Fault | None = None,
) -> Position:
    """Return the position that two values, texts or numbers, give.

    Where both are missing or 0, or ``fault`` says so, it has a fault. Raises MalformedError unless both are numbers in
    range.
    """
    if fault is not None or (_is_missing(lat) and _is_missing(lon)):
        return Position(where, math.nan, math.nan, time, segment, kind, fault or "empty")
    lat_deg, lon_deg = finite_number(where, "latitude", lat), finite_number(where, "longitude", lon)
    if abs(lat_deg) > 90.0:
        is_swapped = abs(lat_deg) <= 180.0 and abs(lon_deg) <= 90.0
        hint = " (are latitude and longitude swapped?)" if is_swapped else ""
        raise MalformedError(f"{where}: latitude {lat_deg:g} is outside [-90, 90]{hint}")
    if abs(lon_deg) > 180.0:
        raise MalformedError(f"{where}: longitude {lon_deg:g} is outside [-180, 180]")
    is_null_island = abs(lat_deg) < NULL_ISLAND_DEG and abs(lon_deg) < NULL_ISLAND_DEG
    return Position(where, lat_deg, lon_deg, time, segment, kind, "null_island" if is_null_island else None)


def finite_number(where: str, what: str, value: Any) -> float:
    """Return the finite number that a text or a JSON value holds. Raises MalformedError that says which one is none."""
    if _is_missing(value) and str(value).casefold() != "nan":
        raise MalformedError(f"{where}: there is no {what}")
    if isinstance(value, str) and len(value) <= MAX_NUMBER_CHARACTERS and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise MalformedError(f"{where}: {what} {shown(value)} is not a number")


def shown(value: Any) -> str:
    """Return a value of a file for a message: short, and with its control characters escaped."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}... ({len(text):,} characters)"


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().casefold() in NO_VALUE)
