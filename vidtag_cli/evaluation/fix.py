"""One true position as a file gives it, and the checks every reader of such files needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from vidtag_cli.errors import InputError

Clock = Literal["media_time", "utc", "frame"]
"""Seconds of media time, seconds since 1970 UTC, or the index of a frame."""


@dataclass(frozen=True, slots=True)
class Fix:
    """A true position at an instant of the file's clock; ``where`` is its place in the file, for messages."""

    instant: float
    lat_deg: float
    lon_deg: float
    where: str


def checked_fix(path: Path, where: str, instant: float, lat_text: str, lon_text: str) -> Fix:
    """Return the fix, longitude in [-180, 180). Raises InputError unless both are numbers in range."""
    lat_deg, lon_deg = number(path, where, "latitude", lat_text), number(path, where, "longitude", lon_text)
    if abs(lat_deg) > 90.0:
        raise InputError(f"{path}: {where}: latitude {lat_text} is outside [-90, 90]: is it the longitude?")
    if abs(lon_deg) > 180.0:
        raise InputError(f"{path}: {where}: longitude {lon_text} is outside [-180, 180]")
    return Fix(instant, lat_deg, -180.0 if lon_deg == 180.0 else lon_deg, where)


def number(path: Path, where: str, name: str, text: str) -> float:
    """Return a finite number. Raises InputError that says which value at which place is none."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{path}: {where}: {name} {text!r} is not a number")
    return value


def unix_time_s(path: Path, where: str, text: str) -> float:
    """Return seconds since 1970 UTC of an ISO 8601 time. Raises InputError for another text or one without a zone."""
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(f"{path}: {where}: {text!r} is not a time like 2024-05-17T09:30:05.033Z") from None
    if instant.tzinfo is None:
        raise InputError(f"{path}: {where}: the time {text!r} names no zone: add Z for UTC, or an offset")
    return instant.timestamp()
