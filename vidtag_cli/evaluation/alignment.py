"""How the clock of a truth is tied to the media time of a video."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from vidtag_cli.errors import UsageError
from vidtag_cli.evaluation.truth import Truth
from vidtag_cli.track import Track

ASSUMED = (
    "assumed: the truth has absolute times and the video has none, so the first entry of the truth ({first}) was taken "
    "to be at the first analysed frame; every error depends on it: give --start-time, or --first-fix-at-s"
)


@dataclass(frozen=True, slots=True)
class Alignment:
    """What ties a truth to a video: ``method`` media_time, frame_index, first_fix_at_s, assumed, or the source of the
    track's time basis; and a sentence.

    A truth in UTC has one of the two: ``media_zero_utc``, the instant of media time 0, or ``first_fix_at_s``, the media
    time of its first entry.
    """

    method: str
    statement: str
    media_zero_utc: datetime | None = None
    first_fix_at_s: float | None = None


def check_alignment(truth: Truth, first_fix_at_s: float | None, start_time: datetime | None) -> None:
    """Raise UsageError for an alignment that the user gave and the truth cannot use."""
    option = "--first-fix-at-s" if first_fix_at_s is not None else "--start-time" if start_time is not None else None
    if option is not None and truth.clock != "utc":
        times = "media times" if truth.clock == "media_time" else "frame indices"
        raise UsageError(f"{option}: {truth.name} is given by {times} and needs no alignment: leave the option out")


def align_truth(truth: Truth, track: Track, first_fix_at_s: float | None = None) -> Alignment:
    """Return the alignment of a truth with a track.

    For a truth in UTC it is, in this order, the media time of its first entry as the user gives it, the track's own
    absolute time (``--start-time`` or the file's dated start, as ``locate`` has it), or the assumption that the truth
    begins with the first analysed frame.
    """
    if truth.clock == "media_time":
        return Alignment("media_time", "the truth gives media times")
    if truth.clock == "frame":
        return Alignment("frame_index", "the truth gives frame indices")
    if first_fix_at_s is not None:
        statement = f"the first entry of the truth is at {first_fix_at_s:g} s of media time, as given"
        return Alignment("first_fix_at_s", statement, first_fix_at_s=first_fix_at_s)
    first = track.points[0]
    start = track.time_utc(first)
    if start is not None:
        zero = start - timedelta(seconds=first.media_time_s)
        statement = f"the first analysed frame is at {_utc_text(start)}: {track.time_basis.note}"
        return Alignment(track.time_basis.source, statement, media_zero_utc=zero)
    first_entry = datetime.fromtimestamp(truth.begin, UTC)
    return Alignment("assumed", ASSUMED.format(first=_utc_text(first_entry)), first_fix_at_s=first.media_time_s)


def _utc_text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
