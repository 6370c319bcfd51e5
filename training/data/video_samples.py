"""From a video and its track to samples: frames at a steady rate, each with its position, cut where the track fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from training.data.ledger import Ledger
from training.data.sample import FrameSource, Sample, SequenceLabel, sample_or_none
from training.data.video_times import VideoTimes, sampled_frames
from vidtag_cli.evaluation.truth import MAX_GAP_S, Truth, positions_at

CLOCK_TOLERANCE_S = 60.0
"""Cameras stamp the start of a file or its end, and clips are short; an offset beyond a minute is another clock."""


@dataclass(frozen=True, slots=True)
class VideoSampling:
    """How videos become samples: frames a second (None takes all), the fewest frames of a sample, and the longest time
    between fixes that is bridged.
    """

    frames_per_s: float | None = 1.0
    min_frames: int = 16
    max_gap_s: float = MAX_GAP_S


@dataclass(frozen=True, slots=True)
class Alignment:
    """What ties a track in another clock than media time to a video; see ``positions_at``."""

    media_zero_utc: datetime | None = None
    first_fix_at_s: float | None = None


def video_samples(
    path: Path,
    times: VideoTimes,
    truth: Truth,
    label: SequenceLabel,
    sampling: VideoSampling,
    ledger: Ledger,
    alignment: Alignment | None = None,
) -> list[Sample]:
    """Return the samples of one video in order of time; several, of one group, where the track has gaps.

    A frame before, after or in a gap of the track has no position and is dropped.
    """
    alignment = alignment or Alignment()
    kept = sampled_frames(times.media_time_s, sampling.frames_per_s)
    time_s = times.media_time_s[kept]
    ledger.find("frame", len(kept))
    latlon_deg = positions_at(
        truth,
        time_s,
        media_zero_utc=alignment.media_zero_utc,
        first_fix_at_s=alignment.first_fix_at_s,
        frame_index=kept if truth.clock == "frame" else None,
        max_gap_s=sampling.max_gap_s,
    )
    known = np.isfinite(latlon_deg).all(axis=1)
    _report_unknown(label.key, time_s, known, ledger)
    runs = list(_runs(known))
    samples = []
    for number, run in enumerate(runs, start=1):
        part = label if len(runs) == 1 else replace(label, key=f"{label.key}#{number}")
        frames = [FrameSource(path, float(value)) for value in time_s[run]]
        sample = sample_or_none(part, frames, latlon_deg[run], time_s[run], sampling.min_frames, ledger)
        if sample is not None:
            samples.append(sample)
    return samples


def report_clock_offset(name: str, gps_utc: datetime | None, times: VideoTimes, ledger: Ledger) -> None:
    """Note the difference between the container's creation time, taken for UTC, and the time of the first fix."""
    created = times.info.creation_time
    if gps_utc is None or created is None or created.tzinfo is None:
        return
    offset_s = (created - gps_utc).total_seconds()
    if abs(offset_s) > CLOCK_TOLERANCE_S:
        ledger.note("video", "clock_offset", f"{name}: creation_time {offset_s:+.0f} s from GPS time")


def _report_unknown(key: str, time_s: np.ndarray, known: np.ndarray, ledger: Ledger) -> None:
    inside = np.zeros(len(known), dtype=bool)
    if known.any():
        first, last = np.flatnonzero(known)[[0, -1]]
        inside[first:last] = True
    for reason, lost in (("gps_gap", inside & ~known), ("outside_track", ~inside & ~known)):
        if lost.any():
            example = f"{key}: {time_s[lost][0]:.3f} to {time_s[lost][-1]:.3f} s"
            ledger.drop("frame", reason, example, int(lost.sum()))


def _runs(known: np.ndarray) -> Iterator[slice]:
    """Yield the spans of consecutive True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    for begin, end in edges.reshape(-1, 2):
        yield slice(int(begin), int(end))
