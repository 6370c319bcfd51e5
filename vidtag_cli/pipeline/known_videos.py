"""Videos whose true track is known: everything that can fail is read before the first of them is decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from vidtag_cli.errors import InputError, UsageError, VidtagError
from vidtag_cli.evaluation.alignment import check_alignment
from vidtag_cli.evaluation.beside import only_candidate, tracks_beside
from vidtag_cli.evaluation.scoring import ScoredTrack, score_track
from vidtag_cli.evaluation.truth import Truth, read_truth
from vidtag_cli.exhaustion import explain_exhaustion
from vidtag_cli.pipeline.locate import LocateOptions
from vidtag_cli.pipeline.run import locate_unchanged
from vidtag_cli.pipeline.session import Session
from vidtag_cli.positions.reading import EMBEDDED_READERS, left_out_text
from vidtag_cli.video.probe import probe_video

EMBEDDED = "embedded"
"""In place of a truth file: the GPS in the video itself."""


@dataclass(frozen=True, slots=True)
class KnownVideo:
    """A video that was probed, the truth beside or inside it, and what the user says to tie the two together."""

    path: Path
    truth_path: Path
    truth: Truth
    start_time: datetime | None
    first_fix_at_s: float | None


def open_known_videos(
    videos: Sequence[Path],
    truths: Sequence[Path] | None,
    start_time: datetime | None,
    first_fix_at_s: float | None,
    warn: Callable[[str], None],
) -> list[KnownVideo]:
    """Return videos with their truths, those of ``truths`` in the same order or else the tracks beside them.

    ``warn`` is told what was left out of a truth and which file was passed over. Raises UsageError, InputError or
    VideoError, also for a video that cannot be opened: that is known before hours of another one.
    """
    if truths and len(truths) != len(videos):
        raise UsageError(f"{len(videos)} videos and {len(truths)} --truth files: give one for each, in the same order")
    known = []
    for number, video in enumerate(videos):
        path = _truth_path(video, truths[number] if truths else None, warn)
        truth = read_truth(path)
        check_alignment(truth, first_fix_at_s, start_time)
        if truth.source is not None and truth.source.left_out:
            warn(f"{path}: left out of the truth: {left_out_text(truth.source.left_out)}")
        probe_video(video)
        known.append(KnownVideo(video, path, truth, start_time, first_fix_at_s))
    return known


def score_known_video(
    video: KnownVideo,
    session: Session,
    options: LocateOptions,
    max_gap_s: float,
    progress: Callable[[float, float | None], None] | None = None,
) -> ScoredTrack:
    """Return the located track of a video beside its truth."""
    located, _, _ = locate_unchanged(video.path, session, options, start_time=video.start_time, progress=progress)
    return score_track(located.track, video.truth, first_fix_at_s=video.first_fix_at_s, max_gap_s=max_gap_s)


def score_or_error(
    video: KnownVideo,
    session: Session,
    options: LocateOptions,
    max_gap_s: float,
    progress: Callable[[float, float | None], None] | None = None,
) -> ScoredTrack | VidtagError:
    """Return what ``score_known_video`` does, or the error that ended it: the other videos have their turn."""
    try:
        return score_known_video(video, session, options, max_gap_s, progress)
    except VidtagError as error:
        return explain_exhaustion(error) or error


def _truth_path(video: Path, named: Path | None, warn: Callable[[str], None]) -> Path:
    if named is None:
        beside = tracks_beside(video)
        path = only_candidate(video, beside)
        if beside.own_outputs:
            warn(f"{video}: passed over, since vidtag itself wrote them: {beside.own_text()}; the truth is {path.name}")
        return path
    if str(named) != EMBEDDED:
        return named
    if video.suffix.lower() not in EMBEDDED_READERS:
        raise InputError(f"{video}: --truth embedded reads the GPS of {', '.join(EMBEDDED_READERS)} files (GoPro)")
    return video
