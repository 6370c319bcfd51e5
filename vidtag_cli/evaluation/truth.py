"""The true positions of a video, read from a file, and where the camera was at given times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from vidtag_cli.errors import InputError, UsageError
from vidtag_cli.evaluation.fix import Fix, file_fixes
from vidtag_cli.geo.sphere import interpolate_latlon
from vidtag_cli.positions.position import FAULT_WORDS, Clock
from vidtag_cli.positions.reading import PositionFile, read_position_file

MAX_GAP_S = 10.0
"""Between fixes further apart the way is unknown: at town speed a car turns several corners in that time."""

SAME_INSTANT_S = 1e-6
"""Seconds since 1970 carry rounding errors of 2e-7; no video has frames this near each other."""


@dataclass(frozen=True, slots=True)
class TruthSource:
    """The file that a truth came from: SHA-256 of its bytes, its format, and the places of what was left out of it, by
    reason in words.
    """

    path: Path
    sha256: str
    format_name: str
    left_out: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Truth:
    """True positions (N, 2) in degrees at strictly increasing ``instants`` (N,) of one clock.

    The clock says what an instant is: seconds of media time, seconds since 1970 UTC, or the index of a frame. Between
    positions of different ``segments`` (N,) the way is unknown; None is one segment. ``first_instant`` is that of the
    file's first entry, which may have had no position; None is that of the first position.
    """

    clock: Clock
    instants: np.ndarray
    latlon_deg: np.ndarray
    segments: np.ndarray | None = None
    first_instant: float | None = None
    source: TruthSource | None = None

    @property
    def begin(self) -> float:
        """The instant of the first entry."""
        return float(self.instants[0]) if self.first_instant is None else self.first_instant

    @property
    def name(self) -> str:
        """The path of the file, or words for it."""
        return "the truth" if self.source is None else str(self.source.path)


def read_truth(path: str | Path) -> Truth:
    """Return the positions of a GPX, CSV or GeoJSON file, or those that a GoPro wrote into its video. Of fixes with one
    and the same instant the first counts.

    Raises InputError, with the line where there is one, for a file that is missing, malformed, empty, written by vidtag
    itself, or whose times are missing, run backwards or name no time zone, and for a video whose GPS had no lock.
    """
    file = read_position_file(path)
    read = file_fixes(file)
    if not read.fixes:
        raise InputError(f"{path}: {nothing_usable_text(file)}")
    kept = [read.fixes[0]]
    for fix in read.fixes[1:]:
        if fix.instant < kept[-1].instant:
            raise InputError(f"{path}: {fix.where}: the time runs backwards: sort the file by time")
        if fix.instant > kept[-1].instant:
            kept.append(fix)
    left_out: dict[str, Sequence[str]] = {FAULT_WORDS[fault]: places for fault, places in file.left_out().items()}
    if read.beside_track:
        left_out["beside the track"] = read.beside_track
    source = TruthSource(file.path, file.sha256, file.contents.format_name, left_out)
    return truth_of(read.clock, kept, read.first_instant, source)


def truth_of(
    clock: Clock, fixes: Sequence[Fix], first_instant: float | None = None, source: TruthSource | None = None
) -> Truth:
    """Return fixes at strictly increasing instants as arrays."""
    return Truth(
        clock,
        np.array([fix.instant for fix in fixes], dtype=np.float64),
        np.array([(fix.lat_deg, fix.lon_deg) for fix in fixes], dtype=np.float64).reshape(-1, 2),
        np.array([fix.segment for fix in fixes], dtype=np.int64),
        first_instant,
        source,
    )


def nothing_usable_text(file: PositionFile) -> str:
    """Return why a file without a usable position has none."""
    if file.contents.positions:
        faults = file.left_out().items()
        return "holds no usable position: " + ", ".join(f"{len(at)} {FAULT_WORDS[fault]}" for fault, at in faults)
    if file.contents.format_name == "gopro":
        return "holds no GoPro telemetry with GPS: give the track as a GPX or CSV file"
    return "holds no position"


def positions_at(
    truth: Truth,
    media_time_s: np.ndarray,
    *,
    media_zero_utc: datetime | None = None,
    first_fix_at_s: float | None = None,
    frame_index: np.ndarray | None = None,
    max_gap_s: float = MAX_GAP_S,
) -> np.ndarray:
    """Return (M, 2) true degrees at (M,) seconds of media time, along great circles; NaN where the truth does not
    say.

    It does not say before the first fix, after the last, and between fixes more than ``max_gap_s`` apart. A truth in
    UTC needs one alignment: ``media_zero_utc``, the instant of media time 0, or ``first_fix_at_s``, the media time of
    its first entry. A truth by frames needs the (M,) ``frame_index`` of the times and is not interpolated. Raises
    UsageError for anything else.
    """
    query_s = np.asarray(media_time_s, dtype=np.float64)
    _check_alignment(truth.clock, media_zero_utc, first_fix_at_s, frame_index)
    if frame_index is not None:
        return _at_frames(truth, np.asarray(frame_index))
    return _interpolated(truth, media_times_s(truth, media_zero_utc, first_fix_at_s), query_s, max_gap_s)


def media_times_s(truth: Truth, media_zero_utc: datetime | None, first_fix_at_s: float | None) -> np.ndarray:
    """Return the (N,) instants of a truth in seconds of media time."""
    if media_zero_utc is not None:
        return truth.instants - media_zero_utc.timestamp()
    if first_fix_at_s is not None:
        return truth.instants - truth.begin + first_fix_at_s
    return truth.instants


def _check_alignment(
    clock: Clock, media_zero_utc: datetime | None, first_fix_at_s: float | None, frame_index: np.ndarray | None
) -> None:
    if media_zero_utc is not None and media_zero_utc.tzinfo is None:
        raise UsageError(f"the start time {media_zero_utc.isoformat()} has no zone: add Z or an offset")
    alignments = {"zero": media_zero_utc, "first": first_fix_at_s, "frames": frame_index}
    given = {name for name, value in alignments.items() if value is not None}
    if clock == "utc" and given not in ({"zero"}, {"first"}):
        raise UsageError("the truth has absolute times: say when the video starts, or the media time of the first fix")
    if clock == "media_time" and given:
        raise UsageError("the truth has media times already: give no start time")
    if clock == "frame" and given != {"frames"}:
        raise UsageError("the truth is given by frame index: it can only be compared frame by frame")


def _at_frames(truth: Truth, frame_index: np.ndarray) -> np.ndarray:
    row_of_frame = {int(frame): row for row, frame in enumerate(truth.instants)}
    missing = np.full(2, np.nan)
    rows = [row_of_frame.get(int(frame)) for frame in frame_index]
    return np.array([missing if row is None else truth.latlon_deg[row] for row in rows]).reshape(-1, 2)


def _interpolated(truth: Truth, instants_s: np.ndarray, query_s: np.ndarray, max_gap_s: float) -> np.ndarray:
    latlon_deg = truth.latlon_deg
    segments = np.zeros(len(instants_s)) if truth.segments is None else truth.segments
    after = np.searchsorted(instants_s, query_s - SAME_INSTANT_S, side="left").clip(0, len(instants_s) - 1)
    # A query at a fix uses that fix alone, so that the gap beside it does not matter.
    exact = np.abs(instants_s[after] - query_s) <= SAME_INSTANT_S
    before = np.where(exact, after, (after - 1).clip(0))
    gap_s = instants_s[after] - instants_s[before]
    is_way_known = (gap_s <= max_gap_s) & (segments[before] == segments[after])
    known = exact | ((query_s > instants_s[before]) & (query_s < instants_s[after]) & is_way_known)
    fraction = np.where(gap_s > 0.0, (query_s - instants_s[before]) / np.where(gap_s > 0.0, gap_s, 1.0), 0.0)
    positions = interpolate_latlon(latlon_deg[before], latlon_deg[after], fraction)
    positions[exact] = latlon_deg[after[exact]]
    positions[~known] = np.nan
    return np.asarray(positions)
