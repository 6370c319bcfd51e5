"""The position that a file claims for itself in its metadata, an ISO 6709 string. A claim, never an input of the
estimate.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

_APPLE_KEY = "com.apple.quicktime.location.iso6709"
_POINT = re.compile(
    r"""
    (?P<lat>[+-]\d+(?:\.\d+)?)
    (?P<lon>[+-]\d+(?:\.\d+)?)
    (?P<alt>[+-]\d+(?:\.\d+)?)?
    (?:CRS(?P<crs>[A-Za-z0-9_:.-]+))?
    /?
    """,
    re.VERBOSE | re.ASCII,
)

_MAX_LAT_DEG = 90.0
_MAX_LON_DEG = 180.0


@dataclass(frozen=True, slots=True)
class EmbeddedLocation:
    """One position from the metadata: degrees, WGS84 by custom, and the tag it was read from.

    ``is_place`` is False for exactly 0 north, 0 east, which devices write when they had no position.
    """

    lat_deg: float
    lon_deg: float
    alt_m: float | None
    source_key: str
    is_place: bool


def is_location_key(key: str) -> bool:
    """Return whether a tag holds an ISO 6709 position: Apple's own key, or ``location`` with or without a language."""
    name = key.rpartition(":")[2].casefold()
    return name == _APPLE_KEY or name == "location" or name.startswith("location-")


def find_embedded_location(tags: Mapping[str, str]) -> EmbeddedLocation | None:
    """Return the position in a file's tags, or None when no tag holds a readable one.

    Apple's key comes first, since it alone has the altitude, then the tags in the order of the file.
    """
    keys = sorted(filter(is_location_key, tags), key=lambda key: _APPLE_KEY not in key.casefold())
    for key in keys:
        try:
            point = parse_iso6709(tags[key])
        except ValueError:
            continue
        is_place = point.lat_deg != 0.0 or point.lon_deg != 0.0
        return EmbeddedLocation(point.lat_deg, point.lon_deg, point.alt_m, key, is_place)
    return None


@dataclass(frozen=True, slots=True)
class Iso6709Point:
    """A position as written: degrees north and east, longitude in [-180, 180), metres above the datum or None."""

    lat_deg: float
    lon_deg: float
    alt_m: float | None


def parse_iso6709(text: str) -> Iso6709Point:
    """Return the position that a string of the forms ±DD.D±DDD.D, ±DDMM.M±DDDMM.M or ±DDMMSS.S±DDDMMSS.S names.

    An altitude, a coordinate reference system and the closing slash may follow. The number of digits before the decimal
    point tells degrees from minutes and seconds. Raises ValueError for anything else.
    """
    match = _POINT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not an ISO 6709 position")
    lat_deg = _sexagesimal_deg(match["lat"], degree_digits=2)
    lon_deg = _sexagesimal_deg(match["lon"], degree_digits=3)
    if abs(lat_deg) > _MAX_LAT_DEG or abs(lon_deg) > _MAX_LON_DEG:
        raise ValueError(f"{text!r} is outside latitude [-90, 90], longitude [-180, 180]")
    if lon_deg == _MAX_LON_DEG:
        lon_deg = -_MAX_LON_DEG
    alt_m = None if match["alt"] is None else float(match["alt"])
    return Iso6709Point(lat_deg, lon_deg, alt_m)


def _sexagesimal_deg(text: str, degree_digits: int) -> float:
    sign = -1.0 if text[0] == "-" else 1.0
    integer, _, decimals = text[1:].partition(".")
    if len(integer) <= degree_digits:
        return sign * float(text[1:])
    parts_at = {degree_digits + 2: (degree_digits,), degree_digits + 4: (degree_digits, degree_digits + 2)}
    if len(integer) not in parts_at:
        raise ValueError(f"{text!r} has {len(integer)} digits before the decimal point")
    cuts = (0, *parts_at[len(integer)], len(integer))
    parts = [integer[start:end] for start, end in zip(cuts, cuts[1:], strict=False)]
    numbers = [float(part) for part in parts[:-1]] + [float(f"{parts[-1]}.{decimals or '0'}")]
    if any(number >= 60.0 for number in numbers[1:]):
        raise ValueError(f"{text!r} has 60 or more minutes or seconds")
    return sign * math.fsum(number / 60.0**power for power, number in enumerate(numbers))
