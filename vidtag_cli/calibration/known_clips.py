"""Clips with known positions, located as the runtime does: what calibration needs to know of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidtag_cli.calibration.known_frames import KnownFrames, SearchedPlaces
from vidtag_cli.errors import InputError, UsageError, VideoError
from vidtag_cli.evaluation.beside import tracks_beside
from vidtag_cli.evaluation.scoring import score_track
from vidtag_cli.gallery.posterior import PosteriorSummary
from vidtag_cli.pipeline.known_videos import EMBEDDED, KnownVideo, open_known_videos
from vidtag_cli.pipeline.locate import LocateOptions
from vidtag_cli.pipeline.run import locate_unchanged
from vidtag_cli.pipeline.session import Session
from vidtag_cli.pipeline.uncertainty import (
    BLANK_SPREAD_LEVELS,
    SHORTEST_EMBEDDING,
    objections_to,
    rank_points,
    unit_rows,
)
from vidtag_cli.pipeline.windows import EmbeddedFrames
from vidtag_cli.positions.reading import EMBEDDED_READERS, read_position_file

Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class LocatedClip:
    """A clip with the hashes of its video and its truth, and those of its frames that have a true position."""

    name: str
    sha256: str
    truth: str
    truth_sha256: str
    frames: KnownFrames


def open_known_clips(
    videos: Sequence[Path], truths: Sequence[Path] | None, first_fix_at_s: float | None, warn: Warn
) -> list[KnownVideo]:
    """Return the clips that have a truth: the one named, the file beside it, or else a GoPro's own GPS.

    One whose truth or video cannot be used is left out, and ``warn`` is told why. Raises UsageError for a number of
    truths that is not that of the clips.
    """
    if truths and len(truths) != len(videos):
        raise UsageError(f"{len(videos)} clips and {len(truths)} --truth files: give one for each, in the same order")
    known = []
    for number, video in enumerate(videos):
        named = truths[number] if truths else _embedded_unless_beside(video)
        try:
            known += open_known_videos([video], None if named is None else [named], None, first_fix_at_s, warn)
        except (InputError, VideoError) as error:
            warn(f"left out: {error}")
    return known


def _embedded_unless_beside(video: Path) -> Path | None:
    """Return what stands for the GPS in a video without a track beside it, None where it has none."""
    if tracks_beside(video).candidates or video.suffix.lower() not in EMBEDDED_READERS:
        return None
    try:
        return Path(EMBEDDED) if read_position_file(video).contents.positions else None
    except InputError:
        return None  # what is wrong with the video is said when it is opened


def locate_clip(
    known: KnownVideo, session: Session, options: LocateOptions, max_gap_s: float,
    progress: Callable[[float, float | None], None] | None = None,
) -> LocatedClip:  # fmt: skip
    """Return the frames of a clip beside its truth.

    Raises InputError where no frame has a true position, or the clocks of both could only be tied by assumption: an
    error of seconds would become part of every circle.
    """
    embedded: list[EmbeddedFrames] = []
    located, before, _ = locate_unchanged(
        known.path, session, options, start_time=known.start_time, progress=progress, watch=embedded.append
    )
    scored = score_track(located.track, known.truth, first_fix_at_s=known.first_fix_at_s, max_gap_s=max_gap_s)
    if scored.alignment.method == "assumed":
        raise InputError(
            f"{known.path}: {known.truth.name} has absolute times and the video none: which position belongs to which "
            "frame would be a guess; give --first-fix-at-s, a truth by media time, or for a GoPro --truth embedded"
        )
    frames = known_frames(session, embedded, scored.truth_latlon_deg)
    source = known.truth.source
    truth_sha256 = before.sha256 if source is None else source.sha256
    return LocatedClip(known.path.name, before.sha256, known.truth_path.name, truth_sha256, frames)


def known_frames(session: Session, embedded: Sequence[EmbeddedFrames], truth_latlon_deg: np.ndarray) -> KnownFrames:
    """Return the frames of one clip that have a truth; those that the model's gate refuses are of no use."""
    facts = [frame for batch in embedded for frame in batch.facts]
    outputs = {name: np.concatenate([batch.outputs[name] for batch in embedded]) for name in embedded[0].outputs}
    first, first_lengths = unit_rows(outputs["first_embedding"])
    final, lengths = unit_rows(outputs["refined_embedding"])
    spread_levels = np.array([frame.spread_levels for frame in facts])
    has_answer = np.minimum(first_lengths, lengths) >= SHORTEST_EMBEDDING
    is_of_its_kind = np.array([objection is None for objection in objections_to(session, outputs)])
    has_truth = ~np.isnan(truth_latlon_deg[:, 0])
    return KnownFrames(
        clip=np.zeros(int(has_truth.sum()), np.int64),
        shot=np.array([frame.shot for frame in facts], np.int64)[has_truth],
        media_time_s=np.array([frame.media_time_s for frame in facts])[has_truth],
        first_embedding=first[has_truth],
        embedding=final[has_truth],
        disagreement_km=outputs["disagreement_km"][has_truth],
        domain_distance=outputs["domain_distance"][has_truth],
        truth_latlon_deg=truth_latlon_deg[has_truth],
        is_usable=(has_answer & is_of_its_kind & (spread_levels >= BLANK_SPREAD_LEVELS))[has_truth],
    )


def join_clips(clips: Iterable[KnownFrames]) -> KnownFrames:
    """Return the frames of several clips, numbered from 0; shots go on counting, so that none spans two clips."""
    parts = list(clips)
    begins = np.cumsum([0, *(int(part.shot.max()) + 1 for part in parts)])
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in KnownFrames.__dataclass_fields__
        if name not in ("clip", "shot")
    }
    clip = np.repeat(np.arange(len(parts)), [len(part.clip) for part in parts])
    shot = np.concatenate([part.shot + begin for part, begin in zip(parts, begins, strict=False)])
    return KnownFrames(clip=clip, shot=shot, **joined)


def searched_places(session: Session) -> SearchedPlaces:
    """Return the gallery of a session with its search and its location encoder."""

    def search(queries: np.ndarray, k: int, scale: float) -> tuple[np.ndarray, np.ndarray, PosteriorSummary]:
        scores, indices, summary = rank_points(session, queries, scale)
        return scores[:, :k], indices[:, :k], summary

    return SearchedPlaces(session.gallery, search, session.embed_places)
