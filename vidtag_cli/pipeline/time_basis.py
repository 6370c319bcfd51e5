"""Where absolute time comes from, if from anywhere (docs/formats.md 1.5)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from vidtag_cli.errors import UsageError
from vidtag_cli.track import TimeBasis
from vidtag_cli.video.probe import VideoInfo

YEARS = range(1000, 9999)
"""Four digits in every format, and far enough from the last instant of datetime to add the length of a video."""


def parse_start_time(text: str, option: str = "--start-time") -> datetime:
    """Return an instant of ISO 8601 text, in UTC; ``option`` is what the user calls it.

    Raises UsageError when it is no instant, names no time zone or lies outside the years 1000 to 9998.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option} {text}: not a time such as 2024-05-17T09:30:05Z") from error
    if instant.tzinfo is None:
        raise UsageError(f"{option} {text}: the zone is missing; add Z for UTC or an offset such as +02:00")
    if instant.year not in YEARS:
        raise UsageError(f"{option} {text}: give a year from {YEARS[0]} to {YEARS[-1]}")
    return instant.astimezone(UTC)


def choose_time_basis(video: VideoInfo, start_time: datetime | None) -> TimeBasis:
    """Return the user's start time, else Apple's creation date with its zone, else no absolute time at all.

    A creation date of a year that no video has is passed over as if it were not there.

    ``creation_time`` is never used: in practice many cameras write local time there (docs/formats.md 1.5).
    """
    if start_time is not None:
        return TimeBasis("user", start_time, "the first analysed frame is at the given time")
    apple = video.apple_creation_date
    if apple is not None and apple.tzinfo is not None and apple.year in YEARS:
        return TimeBasis("apple_creationdate", apple.astimezone(UTC), "the file's own claim, with its zone")
    if video.creation_time is not None:
        return TimeBasis(
            note="creation_time is in the file but its zone cannot be trusted: give --start-time to use one"
        )
    return TimeBasis(note="the file names no time")


def at_first_point(basis: TimeBasis, video: VideoInfo, first_media_time_s: float) -> TimeBasis:
    """Return the basis with the instant of the first analysed frame.

    A creation date is that of the recording's beginning: the video may begin later, or its first frames be damaged. A
    time that the user gave is that of the first analysed frame already.
    """
    if basis.source != "apple_creationdate" or basis.start_time_utc is None:
        return basis
    return replace(basis, start_time_utc=basis.start_time_utc + timedelta(seconds=first_media_time_s - video.origin_s))
