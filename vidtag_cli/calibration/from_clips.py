"""From located clips to a calibration file: whole clips on one side of the split, too few of them refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from vidtag_cli import __version__
from vidtag_cli.bundle.calibration_file import SCHEMA, CalibratedModel, CalibrationClip, CalibrationFile
from vidtag_cli.bundle.contract import Calibration
from vidtag_cli.calibration.circles import CLIPS_PER_BIN
from vidtag_cli.calibration.fit import CalibrationPlan, fit_calibration, within_limits
from vidtag_cli.calibration.known_clips import LocatedClip, join_clips, searched_places
from vidtag_cli.calibration.paths import PathStep
from vidtag_cli.errors import InputError
from vidtag_cli.pipeline.calibration import UncertaintyRule
from vidtag_cli.pipeline.path import path_rule, plausible_speed_km_h
from vidtag_cli.pipeline.session import Session

CLIPS_NEEDED = 2 * CLIPS_PER_BIN

SPLIT = (
    "clips in the order of their SHA-256, shuffled by numpy's default generator from the seed; the first half fits, "
    "the others measure; no clip is on both sides"
)

REACH = "these figures are for footage of the kind and the places of these clips alone"


def check_clip_count(clips: int, left_out: int) -> None:
    """Raise InputError, with how many are missing, for too few clips with known positions."""
    if clips < CLIPS_NEEDED:
        others = f" ({left_out} left out)" if left_out else ""
        raise InputError(
            f"{clips} clips with known positions{others}: {CLIPS_NEEDED} are needed, {CLIPS_PER_BIN} to fit on and "
            f"{CLIPS_PER_BIN} others to measure on: {CLIPS_NEEDED - clips} are missing; nothing was written"
        )


def check_clips_differ(clips: Sequence[LocatedClip]) -> None:
    """Raise InputError for a clip that is there twice: it would be on both sides of the split, or count twice."""
    by_hash: dict[str, str] = {}
    for clip in clips:
        if clip.sha256 in by_hash:
            raise InputError(f"{by_hash[clip.sha256]} and {clip.name} are the same file: name each clip once")
        by_hash[clip.sha256] = clip.name


def calibrate_from_clips(
    session: Session, clips: Sequence[LocatedClip], seed: int, max_speed_km_h: float | None
) -> CalibrationFile:
    """Return the calibration of a session's model from located clips; raises InputError for too few, also of those that
    the model answers.
    """
    check_clips_differ(clips)
    check_clip_count(len(clips), 0)
    fit, measure = split_clips(clips, seed)
    fit_on, measure_on = (join_clips(clip.frames for clip in part) for part in (fit, measure))
    plan = _plan(session, max_speed_km_h)
    fitted = fit_calibration(searched_places(session), fit_on, measure_on, plan)
    # What was not fitted stays, such as the area that a place of the gallery stands for.
    fitted = replace(fitted, parameters=session.bundle.calibration.parameters | fitted.parameters)
    records = [*_records(fit, "fit", fitted), *_records(measure, "measure", fitted)]
    for part, doing in (("fit", "fit on"), ("measure", "measure on")):
        _check_answered([record for record in records if record.part == part], doing)
    bundle = session.bundle
    return CalibrationFile(
        schema=SCHEMA,
        model=CalibratedModel(bundle.name, bundle.sha256, bundle.kind),
        created_utc=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        created_with=f"vidtag {__version__}",
        gallery=session.gallery.contract.origin.source,
        frames_per_second=bundle.sampling.frames_per_second,
        seed=seed,
        split=SPLIT,
        clips=tuple(records),
        calibration=fitted,
    )


def split_clips(clips: Sequence[LocatedClip], seed: int) -> tuple[list[LocatedClip], list[LocatedClip]]:
    """Return the clips to fit on and those to measure on, see ``SPLIT``."""
    ordered = sorted(clips, key=lambda clip: clip.sha256)
    shuffled = [ordered[number] for number in np.random.default_rng(seed).permutation(len(ordered))]
    half = len(shuffled) // 2
    return shuffled[:half], shuffled[half:]


def _plan(session: Session, max_speed_km_h: float | None) -> CalibrationPlan:
    """Return what is chosen: as the model has it, where it was measured, and never a wider limit than its own."""
    rule = session.rule
    speed_km_h = max_speed_km_h or plausible_speed_km_h(rule)
    step = PathStep(speed_km_h, path_rule(rule, speed_km_h, session.step_s).doubt_km, session.step_s)
    plan = CalibrationPlan(rule.place_radius_km, path=step, unit="clips", reach=REACH)
    if not isinstance(rule, UncertaintyRule):
        return plan
    return replace(
        plan, max_radius95_km=rule.max_radius95_km, max_disagreement_km=rule.max_disagreement_km,
        max_domain_distance=rule.max_domain_distance,
    )  # fmt: skip


def _records(
    clips: Sequence[LocatedClip], part: Literal["fit", "measure"], fitted: Calibration
) -> list[CalibrationClip]:
    return [
        CalibrationClip(
            clip.name, clip.sha256, clip.truth, clip.truth_sha256, part, len(clip.frames.clip),
            int(within_limits(clip.frames, fitted.parameters).sum()),
        )
        for clip in clips
    ]  # fmt: skip


def _check_answered(records: Sequence[CalibrationClip], doing: str) -> None:
    answered = sum(record.frames_answered > 0 for record in records)
    if answered < CLIPS_PER_BIN:
        raise InputError(
            f"of the {len(records)} clips to {doing} the model answers {answered}; the others lie outside its domain, "
            f"or their frames disagree: {CLIPS_PER_BIN} are needed, {CLIPS_PER_BIN - answered} are missing; nothing "
            "was written"
        )
