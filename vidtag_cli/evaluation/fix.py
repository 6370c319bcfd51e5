"""A position that counts as true, at an instant of a clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from vidtag_cli.errors import InputError
from vidtag_cli.positions.position import Clock, MalformedError, Position, finite_number, shown
from vidtag_cli.positions.reading import PositionFile


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


def file_fixes(file: PositionFile) -> tuple[Clock, list[Fix]]:
    """Return the clock of a file and its usable positions with their instants, in the order of the file.

    Raises InputError when vidtag itself wrote the file, and for an entry whose time is missing or unreadable.
    """
    contents = file.contents
    if contents.own_mark is not None:
        raise InputError(
            f"{file.path}: written by vidtag itself ({contents.own_mark}): an estimate is no truth; "
            "give the track of a receiver"
        )
    usable = file.usable()
    try:
        if contents.clock is None:
            if not usable:
                return "media_time", []
            raise MalformedError(contents.without_time)
        return contents.clock, [_fix(position, INSTANTS[contents.clock]) for position in usable]
    except MalformedError as error:
        raise InputError(f"{file.path}: {error}") from error


def _fix(position: Position, instant_of: Callable[[str, str | float], float]) -> Fix:
    if position.time is None:
        raise MalformedError(f"{position.where}: the position has no time: a truth needs one for each")
    instant = instant_of(position.where, position.time)
    lon_deg = -180.0 if position.lon_deg == 180.0 else position.lon_deg
    return Fix(instant, position.lat_deg, lon_deg, position.where, position.segment)


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


INSTANTS: dict[Clock, Callable[[str, str | float], float]] = {
    "media_time": _media_time_s,
    "utc": _unix_time_s,
    "frame": _frame_index,
}
