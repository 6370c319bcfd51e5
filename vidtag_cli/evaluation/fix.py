"""A position that counts as true, at an instant of a clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from vidtag_cli.errors import InputError
from vidtag_cli.positions.position import Clock, Kind, MalformedError, Position, finite_number, shown
from vidtag_cli.positions.reading import PositionFile

KINDS: Sequence[Kind] = ("track", "route", "waypoint")
"""In order of preference: waypoints beside a track are places of interest and not where the camera was."""

LONGEST_WAIT_S = 3600.0
"""A receiver finds its place within minutes of being switched on; an earlier entry has the clock of a cold start."""


@dataclass(frozen=True, slots=True)
class Fix:
    """A true position at an instant of the file's clock; ``where`` is its place in the file, for messages.

    Between fixes of different ``segment`` the way is unknown.
    """

    instant: float
    lat_deg: float
    lon_deg: float
    where: str
    segment: int = 0


@dataclass(frozen=True, slots=True)
class FileFixes:
    """The fixes of a file in its order, by one clock.

    ``first_instant`` is that of the file's first entry, which a receiver may have made before it knew its place; None
    without fixes. ``beside_track`` lists the points that are no part of the track.
    """

    clock: Clock
    fixes: tuple[Fix, ...]
    first_instant: float | None = None
    beside_track: tuple[str, ...] = ()


def file_fixes(file: PositionFile) -> FileFixes:
    """Return the usable positions of a file with their instants: of its track, or else of its route, or else its
    waypoints.

    Raises InputError when vidtag itself wrote the file, and for an entry whose time is missing or unreadable.
    """
    contents = file.contents
    if contents.own_mark is not None:
        raise InputError(
            f"{file.path}: written by vidtag itself ({contents.own_mark}): an estimate is no truth; "
            "give the track of a receiver"
        )
    usable = file.usable()
    best = next((kind for kind in KINDS if any(position.kind == kind for position in usable)), None)
    if best is None:
        return FileFixes(contents.clock or "media_time", ())
    try:
        if contents.clock is None:
            raise MalformedError(contents.without_time)
        instant_of = INSTANTS[contents.clock]
        fixes = tuple(_fix(position, instant_of) for position in usable if position.kind == best)
    except MalformedError as error:
        raise InputError(f"{file.path}: {error}") from error
    first_instant = _first_instant([position for position in contents.positions if position.kind == best], instant_of)
    beside = tuple(position.where for position in usable if position.kind != best)
    if first_instant is None or not 0.0 <= fixes[0].instant - first_instant <= LONGEST_WAIT_S:
        first_instant = fixes[0].instant
    return FileFixes(contents.clock, fixes, first_instant, beside)


InstantOf = Callable[[str, str | float], float]


def _fix(position: Position, instant_of: InstantOf) -> Fix:
    if position.time is None:
        point = {"track": "position", "route": "route point", "waypoint": "waypoint"}[position.kind]
        raise MalformedError(f"{position.where}: the {point} has no time: a truth needs one for each")
    instant = instant_of(position.where, position.time)
    lon_deg = -180.0 if position.lon_deg == 180.0 else position.lon_deg
    return Fix(instant, position.lat_deg, lon_deg, position.where, position.segment)


def _first_instant(positions: Sequence[Position], instant_of: InstantOf) -> float | None:
    """Return the first instant of a file; an entry without a position may have none, or one that cannot be read."""
    for position in positions:
        try:
            if position.time is not None:
                return instant_of(position.where, position.time)
        except MalformedError:
            continue
    return None


def _media_time_s(where: str, time: str | float) -> float:
    return finite_number(where, "media time", time)


def _frame_index(where: str, time: str | float) -> float:
    index = finite_number(where, "frame index", time)
    if index < 0 or index != int(index):
        raise MalformedError(f"{where}: frame index {shown(time)} is not a whole number from 0")
    return index


def _unix_time_s(where: str, time: str | float) -> float:
    """Return seconds since 1970 UTC of an ISO 8601 time with a zone."""
    try:
        instant = datetime.fromisoformat(str(time).strip())
    except ValueError:
        raise MalformedError(f"{where}: {shown(time)} is not a time like 2024-05-17T09:30:05.033Z") from None
    if instant.tzinfo is None:
        raise MalformedError(f"{where}: the time {shown(time)} names no zone: add Z for UTC, or an offset")
    return instant.timestamp()


INSTANTS: dict[Clock, InstantOf] = {"media_time": _media_time_s, "utc": _unix_time_s, "frame": _frame_index}
