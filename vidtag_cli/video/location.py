"""The position that a file claims for itself in its metadata. A claim, never an input of the estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vidtag_cli.video.iso6709 import parse_iso6709

_APPLE_KEY = "com.apple.quicktime.location.iso6709"


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
