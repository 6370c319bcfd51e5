"""When each frame of a video is shown, and what else its packets say, read without decoding a picture."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np

from vidtag_cli.errors import VideoError
from vidtag_cli.video.containers import CONTAINER_OPTIONS, file_url
from vidtag_cli.video.info import VideoInfo

WRAPPING_FORMATS = frozenset({"mpegts", "mpeg"})
WRAP_TICKS = 1 << 33
"""Times of MPEG streams count to here and begin anew: after 26.5 hours of 90,000 ticks a second."""

_STAYS_BACK_PACKETS = 3
"""A time that is passed again within so many packets went back by mistake; else the clock was set back."""

_LONGEST_WRAP_GAP_TICKS = 60 * 90_000
"""A clock that begins anew goes on at once; a longer gap is another recording."""

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
    again, one as a rule.
    """

    pts: np.ndarray
    key_pts: np.ndarray
    end_pts: int | None
    read: int
    count: int
    without_time: int
    damaged: int
    parts: tuple[TimedPart, ...]

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


def packet_pts(path: Path, info: VideoInfo) -> np.ndarray:
    """Return the presentation times (F,) int64 of all frames, in ticks of ``info.time_base``, rising.

    A frame's place among them is its number even when the frames before it were not decoded.
    """
    return read_packets(path, info).pts


def read_packets(path: Path, info: VideoInfo) -> Packets:
    """Return what the packets of the chosen stream say; reading those of an hour of 1080p takes about ten seconds of
    the processor, a hundredth of decoding them. Raises VideoError when the file cannot be read to its end.
    """
    pts: list[int | None] = []
    dts: list[int | None] = []
    is_key: list[bool] = []
    is_damaged: list[bool] = []
    end_pts: int | None = None
    read = 0
    try:
        with av.open(file_url(path, info.descriptor), options=CONTAINER_OPTIONS, metadata_errors="replace") as container:
            for packet in container.demux(container.streams.video[info.video_stream]):
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
        raise VideoError(f"{path}: its packets cannot be read ({error.strerror}); it may be damaged") from error
    wraps = not WRAPPING_FORMATS.isdisjoint(info.container_format.split(","))
    starts = part_starts([own if own is not None else shown for own, shown in zip(dts, pts, strict=True)], wraps)
    parts = _parts(pts, starts, wraps)
    # Where two recordings meet, the counters of a transport stream jump: nothing is damaged by that.
    at_joins = {index for start in starts[1:] for index in (start - 1, start)}
    return Packets(
        pts=np.sort(np.array([time for time in pts if time is not None], dtype=np.int64)),
        key_pts=np.sort(np.array([time for time, key in zip(pts, is_key, strict=True) if key and time is not None], np.int64)),
        end_pts=end_pts,
        read=read,
        count=len(pts),
        without_time=pts.count(None),
        damaged=sum(damaged and index not in at_joins for index, damaged in enumerate(is_damaged)),
        parts=parts,
    )  # fmt: skip


def part_starts(decoding_times: list[int | None], wraps: bool) -> list[int]:
    """Return at which packets the clock was set back or, where it ``wraps``, began anew; 0 is always one of them.

    A single time that goes back and is passed again within the next packets is an error of its own and starts nothing.
    """
    starts = [0]
    latest: int | None = None
    for index, time in enumerate(decoding_times):
        if time is None:
            continue
        if latest is None or (time >= latest and not (wraps and time - latest > WRAP_TICKS // 2)):
            latest = time
            continue
        following = [later for later in decoding_times[index + 1 : index + 1 + _STAYS_BACK_PACKETS] if later is not None]
        is_lone = any(latest < later and not (wraps and later - latest > WRAP_TICKS // 2) for later in following)
        if not is_lone:
            starts.append(index)
            latest = time
    return starts


def _parts(pts: list[int | None], starts: list[int], wraps: bool) -> tuple[TimedPart, ...]:
    parts: list[TimedPart] = []
    step = 1
    for start, end in zip(starts, [*starts[1:], len(pts)], strict=True):
        times = np.sort(np.array([time for time in pts[start:end] if time is not None], dtype=np.int64))
        if not len(times):
            continue
        first, last = int(times[0]), int(times[-1])
        offset, is_continued = 0, False
        if parts:
            before = parts[-1]
            gap = (first - before.last_pts) % WRAP_TICKS
            is_continued = wraps and gap <= _LONGEST_WRAP_GAP_TICKS
            offset = before.last_pts + before.offset + (gap if is_continued else step) - first
        steps = np.diff(times)
        step = int(np.median(steps[steps > 0])) if np.any(steps > 0) else step
        parts.append(TimedPart(first, last, offset, is_continued))
    return tuple(parts)
