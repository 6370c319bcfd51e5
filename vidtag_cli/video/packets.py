"""When each frame of a video is shown, and what else its packets say, read without decoding a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np

from vidtag_cli.video.containers import CONTAINER_OPTIONS, file_url
from vidtag_cli.video.info import VideoInfo

WRAPPING_FORMATS = frozenset({"mpegts", "mpeg"})
WRAP_TICKS = 1 << 33
"""Times of MPEG streams count to here and begin anew: after 26.5 hours of 90,000 ticks a second."""

_FORMATS_WITH_DECODING_TIMES = frozenset({"mpegts", "mpeg", "mov", "flv"})
_STAYS_BACK_PACKETS = 3
"""A time that is passed again within so many packets went back by mistake; else the clock was set back."""

_REORDERED_PACKETS = 17
"""The same where decoding times are not stored but guessed: a guess may go back as far as pictures are reordered."""

_LONGEST_WRAP_GAP_TICKS = 60 * 90_000
"""A clock that begins anew goes on at once; a longer gap is another recording."""

_JOIN_PACKETS = 3

_RATE_FRAMES = 100
"""Fewer frames than this keep no machine busy, at whatever rate."""


@dataclass(frozen=True, slots=True)
class TimedPart:
    """A stretch of a video in which times rise: its first and last presentation time, in ticks as stored, and what has
    to be added to them so that the part follows the one before it. ``is_continued`` is True for the same recording,
    whose clock has reached the end of its range.
    """

    first_pts: int
    last_pts: int
    offset: int
    is_continued: bool = False


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no single answer to ==
class Packets:
    """What the packets of the chosen stream say: ``pts`` (F,) int64 the presentation times that are shown, rising, in
    ticks; ``key_pts`` those of key frames; ``end_pts`` the end of the last one; how many packets there are, how many
    are shown, how many of these have no time or are marked as damaged; and the parts between which the times start
    again, one as a rule. ``error`` is why the file could not be read to its end.
    """

    pts: np.ndarray
    key_pts: np.ndarray
    end_pts: int | None
    read: int
    count: int
    without_time: int
    damaged: int
    parts: tuple[TimedPart, ...]
    error: str | None = None

    @property
    def starts_again(self) -> bool:
        """Whether times start again on the way, or pass the end of their range."""
        return len(self.parts) > 1

    @property
    def are_all_key_frames(self) -> bool:
        """Whether no frame needs another one."""
        return len(self.key_pts) == self.count

    def rate_fps(self, time_base: Fraction) -> float | None:
        """Return how many frames a second there are on average, None for too few of them to tell."""
        ticks = sum(part.last_pts - part.first_pts for part in self.parts)
        return None if self.count < _RATE_FRAMES else (self.count - 1) / float(max(ticks, 1) * time_base)


def is_wrapping(info: VideoInfo) -> bool:
    """Return whether the clock of a video begins anew at 2**33 ticks."""
    return not WRAPPING_FORMATS.isdisjoint(info.container_format.split(","))


def read_packets(path: Path, info: VideoInfo, is_cancelled: Callable[[], bool] = lambda: False) -> Packets:
    """Return what the packets of the chosen stream say; reading those of an hour of 1080p takes about ten seconds of
    the processor, a hundredth of decoding them. What cannot be read to its end has an ``error`` and what was read,
    and so has what ``is_cancelled`` on the way.
    """
    pts: list[int | None] = []
    dts: list[int | None] = []
    is_key: list[bool] = []
    is_damaged: list[bool] = []
    end_pts: int | None = None
    read = 0
    reason: str | None = None
    try:
        address = file_url(path, info.descriptor)
        with av.open(address, options=CONTAINER_OPTIONS, metadata_errors="replace") as container:
            for packet in container.demux(container.streams.video[info.video_stream]):
                if is_cancelled():
                    reason = "interrupted"
                    break
                if packet.size == 0 and packet.dts is None:
                    continue  # the end
                read += 1
                if packet.is_discard:
                    continue  # cut away by an edit list
                pts.append(packet.pts)
                if packet.pts is not None:
                    end_pts = max(packet.pts + (packet.duration or 0), packet.pts if end_pts is None else end_pts)
                dts.append(packet.dts)
                is_key.append(packet.is_keyframe)
                is_damaged.append(packet.is_corrupt)
    except av.error.FFmpegError as error:
        reason = error.strerror
    wraps = is_wrapping(info)
    has_decoding_times = not _FORMATS_WITH_DECODING_TIMES.isdisjoint(info.container_format.split(","))
    starts = part_starts(dts, wraps, 0 if has_decoding_times else _REORDERED_PACKETS)
    parts = _parts(pts, starts, wraps)
    # Where two recordings meet, the counters of a transport stream jump: nothing is damaged by that.
    at_joins = {index for start in starts[1:] for index in range(start - _JOIN_PACKETS, start + _JOIN_PACKETS)}
    return Packets(
        pts=_rising(pts),
        key_pts=_rising([time for time, key in zip(pts, is_key, strict=True) if key]),
        end_pts=end_pts,
        read=read,
        count=len(pts),
        without_time=pts.count(None),
        damaged=sum(damaged and index not in at_joins for index, damaged in enumerate(is_damaged)),
        parts=parts,
        error=reason,
    )  # fmt: skip


def part_starts(times: list[int | None], wraps: bool, reordered_packets: int = 0) -> list[int]:
    """Return at which packets, of these decoding times, the clock was set back or, where it ``wraps``, began anew; 0 is
    always one of them.

    A time that goes back is an error and starts nothing if it is passed again within the next packets. Where times are
    guessed, a small step back is none either unless it is still not passed after ``reordered_packets``.
    """
    starts = [0]
    latest: int | None = None
    reach = (reordered_packets - 1) * _usual_step(times)
    for index, time in enumerate(times):
        if time is None:
            continue
        if latest is None or time == latest or _follows(time, latest, wraps):
            latest = time
            continue
        is_small = reordered_packets > 0 and abs(latest - time) <= reach
        following = times[index + 1 : index + 1 + (reordered_packets if is_small else _STAYS_BACK_PACKETS)]
        is_passed = any(later is not None and _follows(later, latest, wraps) for later in following)
        if not is_passed and (not is_small or len(following) == reordered_packets):
            starts.append(index)
            latest = time
    return starts


def _usual_step(times: list[int | None]) -> int:
    steps = np.abs(np.diff(np.array([time for time in times if time is not None], dtype=np.int64)))
    return int(np.median(steps)) if len(steps) else 0


def _follows(time: int, latest: int, wraps: bool) -> bool:
    return latest < time and not (wraps and time - latest > WRAP_TICKS // 2)


def _rising(times: list[int | None]) -> np.ndarray:
    return np.sort(np.array([time for time in times if time is not None], dtype=np.int64))


def _step(pts: list[int | None], times: np.ndarray) -> int:
    """Return the ticks from one frame to the next, 0 where there is none: ``times`` are those of ``pts``, rising."""
    timed = [index for index, time in enumerate(pts) if time is not None]
    if len(timed) < len(pts):
        return round((int(times[-1]) - int(times[0])) / max(1, timed[-1] - timed[0]))
    steps = np.diff(times)
    return int(np.median(steps[steps > 0])) if np.any(steps > 0) else 0


def _parts(pts: list[int | None], starts: list[int], wraps: bool) -> tuple[TimedPart, ...]:
    parts: list[TimedPart] = []
    step = 1
    for start, end in zip(starts, [*starts[1:], len(pts)], strict=True):
        times = _rising(pts[start:end])
        if not len(times):
            continue
        first, last = int(times[0]), int(times[-1])
        step_here = _step(pts[start:end], times) or step
        untimed = next((n for n, time in enumerate(reversed(pts[start:end])) if time is not None), 0)
        last += untimed * step_here  # where only some packets have a time, frames follow the last one
        offset, is_continued = 0, False
        if parts:
            before = parts[-1]
            gap = (first - before.last_pts) % WRAP_TICKS
            is_continued = wraps and gap <= _LONGEST_WRAP_GAP_TICKS
            offset = before.last_pts + before.offset + (gap if is_continued else step) - first
        step = step_here
        parts.append(TimedPart(first, last, offset, is_continued))
    return tuple(parts)
