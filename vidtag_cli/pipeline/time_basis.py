"""Where absolute time comes from, if from anywhere (FORMATS 1.5)."""

from __future__ import annotations

from datetime import UTC, datetime

from vidtag_cli.errors import UsageError
from vidtag_cli.track import TimeBasis
from vidtag_cli.video.probe import VideoInfo


def parse_start_time(text: str) -> datetime:
    """Return an instant of ISO 8601 text; raises UsageError when it is not one or names no time zone."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--start-time {text}: not a time such as 2024-05-17T09:30:05Z") from error
    if instant.tzinfo is None:
        raise UsageError(f"--start-time {text}: the zone is missing; add Z for UTC or an offset such as +02:00")
    return instant.astimezone(UTC)


def choose_time_basis(video: VideoInfo, start_time: datetime | None) -> TimeBasis:
    """Return the user's start time, else Apple's creation date with its zone, else no absolute time at all.

    ``creation_time`` is never used: in practice many cameras write local time there (FORMATS 1.5).
    """
    if start_time is not None:
        return TimeBasis("user", start_time, "the first analysed frame is at the given time")
    apple = video.apple_creation_date
    if apple is not None and apple.tzinfo is not None:
        return TimeBasis("apple_creationdate", apple.astimezone(UTC), "the file's own claim, with its zone")
    if video.creation_time is not None:
        return TimeBasis(
            note="creation_time is in the file but its zone cannot be trusted: give --start-time to use one"
        )
    return TimeBasis(note="the file names no time")
