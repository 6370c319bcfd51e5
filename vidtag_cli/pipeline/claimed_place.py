"""Where a video is claimed to have been filmed: a place, a track, or what the file says of itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from vidtag_cli.errors import InputError, UsageError
from vidtag_cli.evaluation.truth import Truth, read_truth
from vidtag_cli.geo.sphere import wrap_longitude_deg
from vidtag_cli.positions.position import MalformedError, checked_position
from vidtag_cli.positions.reading import EMBEDDED_READERS, READERS
from vidtag_cli.video.info import VideoInfo

EMBEDDED = "embedded"

NOT_UNDERSTOOD = (
    "--claim {text}: not LAT,LON[,KM], no .gpx, .csv or .geojson file, and not the word embedded; names of places are "
    "not packaged: give the coordinates, such as 6.52,3.38 for Lagos"
)


@dataclass(frozen=True, slots=True)
class ClaimedPlace:
    """A claim: one position, or a track. ``radius_km`` is what the user gave; ``source`` says where it is from."""

    kind: Literal["place", "track"]
    source: str
    latlon_deg: tuple[float, float] | None = None
    track: Truth | None = None
    radius_km: float | None = None

    def described(self) -> str:
        """Return the claim in words."""
        if self.latlon_deg is None:
            return f"the claimed track ({self.source})"
        return f"{self.latlon_deg[0]:.5f}, {self.latlon_deg[1]:.5f} ({self.source})"


def parse_claim(text: str, open_video: Callable[[], VideoInfo]) -> ClaimedPlace:
    """Return the claim of ``--claim``; ``open_video`` is called for one that the file itself makes.

    Raises UsageError for a text that is none, InputError for a file that has no usable track and for a video that
    claims no place.
    """
    if text == EMBEDDED:
        return _embedded(open_video())
    numbers = text.split(",")
    if len(numbers) in (2, 3) and all(_is_number(number) for number in numbers):
        return _place(text, numbers)
    if Path(text).suffix.lower() in READERS:
        return ClaimedPlace("track", text, track=read_truth(text))
    raise UsageError(NOT_UNDERSTOOD.format(text=text))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _place(text: str, numbers: list[str]) -> ClaimedPlace:
    try:
        position = checked_position(f"--claim {text}", numbers[0].strip(), numbers[1].strip())
    except MalformedError as error:
        raise UsageError(str(error)) from error
    if position.fault is not None:
        raise UsageError(f"--claim {text}: 0, 0 is what devices write that know no place: give the place itself")
    radius_km = float(numbers[2]) if len(numbers) == 3 else None
    if radius_km is not None and not (math.isfinite(radius_km) and radius_km > 0.0):
        raise UsageError(f"--claim {text}: the radius must be a number of km above 0")
    lon_deg = float(wrap_longitude_deg(np.float64(position.lon_deg)))
    return ClaimedPlace("place", "as given", (position.lat_deg, lon_deg), radius_km=radius_km)


def _embedded(video: VideoInfo) -> ClaimedPlace:
    why = "no telemetry"
    if video.path.suffix.lower() in EMBEDDED_READERS:
        try:
            return ClaimedPlace("track", "the file's own telemetry", track=read_truth(video.path))
        except InputError as error:
            why = str(error)
    tag = video.embedded_location
    if tag is not None and tag.is_place:
        return ClaimedPlace("place", f"the file's own tag {tag.source_key}", (tag.lat_deg, tag.lon_deg))
    raise InputError(f"{video.path}: claims no place itself ({why}, and no location tag): give LAT,LON or a track")
