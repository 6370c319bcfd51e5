"""Any folder of videos with their tracks: a GPX, CSV or GeoJSON file of the same name beside each, or embedded GPS."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from training.data.ledger import Ledger
from training.data.positions import relative_name, truth_of_fixes
from training.data.sample import Sample, ScanResult, SequenceLabel
from training.data.video_samples import Alignment, VideoSampling, report_clock_offset, video_samples
from training.data.video_times import VideoTimes, read_video_times
from vidtag_cli.errors import InputError, VidtagError
from vidtag_cli.evaluation.beside import tracks_beside
from vidtag_cli.evaluation.fix import file_fixes
from vidtag_cli.evaluation.truth import Truth, nothing_usable_text
from vidtag_cli.pipeline.time_basis import at_first_point, choose_time_basis
from vidtag_cli.positions.position import FAULT_WORDS, Fault
from vidtag_cli.positions.reading import EMBEDDED_READERS, read_position_file

VIDEO_SUFFIXES = (".mp4", ".mov", ".360", ".m4v", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".wmv")

_LEDGER_REASONS: dict[Fault, str] = {
    "null_island": "position_null_island",
    "empty": "position_missing",
    "unlocated": "position_missing",
}


@dataclass(frozen=True, slots=True)
class VideoFolder:
    """All videos below ``root``, at any depth. The first folder below the root is a sample's stratum."""

    root: Path
    sampling: VideoSampling = field(default_factory=VideoSampling)

    @property
    def name(self) -> str:
        return "videos"

    def scan(self) -> ScanResult:
        """Return a sample a video, more where its track has gaps."""
        ledger = Ledger()
        videos = find_videos(self.root)
        if not videos:
            raise InputError(f"{self.root}: no video ({', '.join(VIDEO_SUFFIXES)}) in it or below")
        copies = _copies(videos)
        samples: list[Sample] = []
        for video in videos:
            ledger.find("video")
            name = relative_name(video, self.root)
            if video in copies:
                ledger.drop("video", "duplicate_content", f"{name} is {relative_name(copies[video], self.root)}")
                continue
            try:
                samples += self._video_samples(video, name, ledger)
            except _UnusableVideoError as unusable:
                ledger.drop("video", unusable.reason, unusable.example.replace(f"{self.root}/", ""))
            else:
                ledger.keep("video")
        return ScanResult(tuple(sorted(samples, key=lambda each: each.key)), ledger.report(self.name, self.root))

    def _video_samples(self, video: Path, name: str, ledger: Ledger) -> list[Sample]:
        truth_path = _truth_path(video, name, ledger)
        try:
            times = read_video_times(video)
        except VidtagError as error:
            raise _UnusableVideoError("video_unreadable", str(error)) from error
        if len(times.media_time_s) == 0:
            raise _UnusableVideoError("video_unreadable", f"{name}: promises no frame")
        try:
            truth, gps_utc = _read_track(truth_path, name, ledger)
        except InputError as error:
            raise _UnusableVideoError("track_unusable", str(error)) from error
        report_clock_offset(name, gps_utc, times, ledger)
        stratum = name.partition("/")[0] if "/" in name else self.name
        label = SequenceLabel(f"{self.name}/{name}", name, stratum)
        alignment = _alignment(truth, times, name, ledger)
        samples = video_samples(video, times, truth, label, self.sampling, ledger, alignment)
        if not samples:
            raise _UnusableVideoError("no_sequence", name)
        return samples


def find_videos(root: Path) -> list[Path]:
    """Return all videos below a folder, in order of their names."""
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())


class _UnusableVideoError(Exception):
    """A video that gives no sample; caught where the books are kept."""

    def __init__(self, reason: str, example: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.example = example


def _truth_path(video: Path, name: str, ledger: Ledger) -> Path:
    beside = tracks_beside(video)
    if beside.own_outputs:
        ledger.note("video", "own_output", f"{name}: {beside.own_text()}")
    if len(beside.candidates) > 1:
        listed = ", ".join(path.name for path in beside.candidates)
        raise _UnusableVideoError("several_tracks", f"{name}: {listed}: keep the true one beside it")
    if beside.candidates:
        return beside.candidates[0]
    if video.suffix.lower() not in EMBEDDED_READERS:
        raise _UnusableVideoError("track_missing", name)
    return video


def _read_track(path: Path, name: str, ledger: Ledger) -> tuple[Truth, datetime | None]:
    """Return the track and the instant of its first fix, where it knows it."""
    file = read_position_file(path)
    if not file.contents.positions and path.suffix.lower() in EMBEDDED_READERS:
        raise _UnusableVideoError("track_missing", f"{name}: no file beside it, no GPS inside")
    read = file_fixes(file)
    for fault, places in file.left_out().items():
        ledger.find("fix", len(places))
        reason = _LEDGER_REASONS.get(fault, "no_lock")
        ledger.drop("fix", reason, f"{name}: {places[0]} {FAULT_WORDS[fault]}", len(places))
    if not read.fixes:
        raise InputError(f"{name}: {nothing_usable_text(file)}")
    if read.beside_track:
        ledger.note("fix", "beside_track", f"{name}: {read.beside_track[0]}")
    truth = truth_of_fixes(read.clock, read.fixes, name, ledger, read.first_instant)
    is_utc = read.clock == "utc"
    return truth, datetime.fromtimestamp(float(truth.instants[0]), UTC) if is_utc else file.contents.first_fix_utc


def _alignment(truth: Truth, times: VideoTimes, name: str, ledger: Ledger) -> Alignment:
    """Return how a track in UTC is tied to the video, as ``vidtag eval`` does it: by the file's dated start, else the
    first entry of the track at the first frame; ``creation_time`` is not to be trusted.
    """
    if truth.clock != "utc":
        return Alignment()
    first_s = float(times.media_time_s[0])
    start = at_first_point(choose_time_basis(times.info, None), times.info, first_s).start_time_utc
    if start is not None:
        return Alignment(media_zero_utc=start - timedelta(seconds=first_s))
    ledger.note("video", "alignment_assumed", f"{name}: first entry of the track taken to be at the first frame")
    return Alignment(first_fix_at_s=first_s)


def _copies(videos: list[Path]) -> dict[Path, Path]:
    """Return the earlier one of each pair of equal videos by the later: a copy would leak from one split to another."""
    by_size: dict[int, list[Path]] = {}
    for video in videos:
        by_size.setdefault(video.stat().st_size, []).append(video)
    copies = {}
    for same_size in by_size.values():
        first_of: dict[str, Path] = {}
        for video in same_size if len(same_size) > 1 else ():
            with video.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if digest in first_of:
                copies[video] = first_of[digest]
            else:
                first_of[digest] = video
    return copies
