"""One video held against a claim, as evidence: the run of ``vidtag check`` (docs/method.md 3.6)."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from vidtag_cli.errors import InputError, UsageError
from vidtag_cli.evaluation.alignment import align_truth, check_alignment
from vidtag_cli.evaluation.truth import MAX_GAP_S, positions_at
from vidtag_cli.pipeline.claim import ShotStatistic, claim_log_ratios, clip_statistic, shot_statistics
from vidtag_cli.pipeline.claim_verdict import FALSE_ALARM, OFF_KM, ClaimTables, Judgement, judge, read_claim_tables
from vidtag_cli.pipeline.claimed_place import ClaimedPlace
from vidtag_cli.pipeline.locate import LocateOptions, LocateResult
from vidtag_cli.pipeline.output_files import all_or_none, settle_earlier_runs
from vidtag_cli.pipeline.repeats import evidence_weights
from vidtag_cli.pipeline.report import build_report, summary_record
from vidtag_cli.pipeline.run import locate_unchanged
from vidtag_cli.pipeline.session import Session
from vidtag_cli.pipeline.uncertainty import unit_rows
from vidtag_cli.pipeline.windows import EmbeddedFrames, frames_per_step
from vidtag_cli.track import Track
from vidtag_cli.writers.atomic import check_output_free
from vidtag_cli.writers.names import path_fields
from vidtag_cli.writers.report import render_report

CHECK_SCHEMA = "vidtag-check/1"
FRAMES_AT_ONCE = 64

LIMITS = (
    "A claim is tested as the whole clip's: the camera was within the radius in every frame.",
    "Consistent does not confirm the claim: places that look alike, and claims nearer than the model can tell apart, "
    "score as high.",
    "The figures hold for videos of the kind that the model was measured on.",
)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A video beside a claim: ``statistic`` is None where no frame took part; ``notes`` say what was chosen."""

    located: LocateResult
    claim: ClaimedPlace
    radius_km: float
    reference: str
    shots: tuple[ShotStatistic, ...]
    statistic: float | None
    judgement: Judgement
    tables: ClaimTables | None
    alignment: str | None
    notes: tuple[str, ...]

    def hypotheses(self) -> tuple[str, str]:
        """Return the two hypotheses that are compared."""
        return (
            f"filmed within {self.radius_km:g} km of {self.claim.described()}",
            f"filmed elsewhere, anywhere in {self.reference} by area",
        )

    def record(self) -> dict[str, Any]:
        """Return the check as a JSON object."""
        judgement, tables = self.judgement, self.tables
        return {
            "hypotheses": list(self.hypotheses()),
            "reference_population": self.reference,
            "claim": {"kind": self.claim.kind, "source": self.claim.source, "latlon_deg": self.claim.latlon_deg,
                      "sha256": _sha256(self.claim), "radius_km": self.radius_km, "alignment": self.alignment},
            "statistic_nat": self.statistic,
            "shots": [asdict(shot) for shot in self.shots],
            "likelihood_ratio": judgement.likelihood_ratio,
            "support": judgement.support,
            "share_of_true_claims_this_low": judgement.p_value,
            "false_alarm_rate": FALSE_ALARM,
            "power": None if tables is None else {f"{km}_km": tables.power(f"off_{km}") for km in OFF_KM}
            | {"random": tables.power("random"), "hardest": tables.power("hardest")},
            "calibration_clips": None if tables is None else tables.clips,
            "verdict": judgement.verdict,
            "reason": judgement.reason,
            "notes": list(self.notes),
            "limits": list(LIMITS),
        }  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """Return the machine summary of ``--json``."""
        track = self.located.track
        return {"schema": CHECK_SCHEMA, **path_fields(self.located.video.path), "model": track.model_name,
                **self.record(), "summary": summary_record(track), "limitations": list(track.limitations)}  # fmt: skip


def _sha256(claim: ClaimedPlace) -> str | None:
    source = None if claim.track is None else claim.track.source
    return None if source is None else source.sha256


def check_input(
    path: Path,
    session: Session,
    options: LocateOptions,
    claim: ClaimedPlace,
    *,
    start_time: datetime | None = None,
    first_fix_at_s: float | None = None,
    expected_sha256: str | None = None,
    report: Path | None = None,
    force: bool = False,
    progress: Callable[[float, float | None], None] | None = None,
) -> CheckResult:
    """Hold one video against a claim and write the record, if one is asked for; raises a VidtagError otherwise."""
    started = datetime.now(UTC)
    if report is not None:
        settle_earlier_runs([report])
        check_output_free(report, [path], force)
    if claim.track is not None:
        check_alignment(claim.track, first_fix_at_s, start_time)
    elif first_fix_at_s is not None:
        raise UsageError("--first-fix-at-s: the claim is one place and has no times: leave the option out")
    queries: list[np.ndarray] = []
    located, before, after = locate_unchanged(
        path, session, options, start_time=start_time, expected_sha256=expected_sha256, progress=progress,
        watch=lambda frames: queries.append(_queries(frames)),
    )  # fmt: skip
    result = _judged(located, session, claim, queries, first_fix_at_s)
    if report is not None:
        record = build_report(
            run_id=str(uuid.uuid4()), started=started, arguments=sys.argv[1:], session=session, options=options,
            result=located, before=before, after=after, outputs=[], exit_code=0,
        )  # fmt: skip
        with all_or_none(force) as files:
            files.add(report, render_report(record | {"claim_check": result.record()}))
    return result


def _queries(frames: EmbeddedFrames) -> np.ndarray:
    return unit_rows(frames.outputs["refined_embedding"])[0]


def _judged(
    located: LocateResult, session: Session, claim: ClaimedPlace, queries: list[np.ndarray],
    first_fix_at_s: float | None,
) -> CheckResult:  # fmt: skip
    track, tables = located.track, read_claim_tables(session.bundle)
    measured_km = session.rule.place_radius_km if tables is None else tables.radius_km
    radius_km, notes = _radius(claim, measured_km)
    gallery = session.gallery
    reference = f"the {gallery.points:,} places of {gallery.contract.origin.source}"
    centres_deg, alignment, left_out = claimed_positions(claim, track, first_fix_at_s)
    notes += left_out
    takes_part = np.array([point.status == "ok" for point in track.points], bool) & np.isfinite(centres_deg[:, 0])
    shots: tuple[ShotStatistic, ...] = ()
    if takes_part.any():
        ratios, nearest = _log_ratios(session, np.concatenate(queries)[takes_part], centres_deg[takes_part], radius_km)
        if nearest:
            notes += (f"in {nearest} frames the circle holds none of the places searched: the nearest stands for it",)
        points = [point for point, does in zip(track.points, takes_part.tolist(), strict=True) if does]
        pace = frames_per_step([point.media_time_s for point in track.points], session.step_s)
        shots = shot_statistics(ratios, evidence_weights(points, pace), [point.shot for point in points])
    statistic = clip_statistic(shots) if shots else None
    judgement = _judgement(tables, statistic, len(shots), radius_km, session)
    return CheckResult(
        located, claim, radius_km, reference, shots, statistic, judgement, tables, alignment, notes
    )  # fmt: skip


def _radius(claim: ClaimedPlace, measured_km: float) -> tuple[float, tuple[str, ...]]:
    """Return the radius that is tested: as given, but not below what was measured."""
    if claim.radius_km is None:
        return measured_km, (f"no radius given: {measured_km:g} km, that of the model's own places",)
    if claim.radius_km < measured_km:
        return measured_km, (f"{claim.radius_km:g} km were claimed: widened to the {measured_km:g} km measured",)
    return claim.radius_km, ()


def claimed_positions(
    claim: ClaimedPlace, track: Track, first_fix_at_s: float | None = None
) -> tuple[np.ndarray, str | None, tuple[str, ...]]:
    """Return the claimed positions (N, 2) at the frames of a track, NaN where the claim does not say; how its times are
    aligned; and what must be said of frames without one.

    Raises InputError when the claim says nothing about any frame.
    """
    if claim.track is None:
        return np.tile(np.array(claim.latlon_deg, float), (len(track.points), 1)), None, ()
    alignment = align_truth(claim.track, track, first_fix_at_s)
    index = np.array([point.frame_index for point in track.points])
    latlon_deg = positions_at(
        claim.track, np.array([point.media_time_s for point in track.points]),
        media_zero_utc=alignment.media_zero_utc, first_fix_at_s=alignment.first_fix_at_s,
        frame_index=index if claim.track.clock == "frame" else None,
    )  # fmt: skip
    missing = int(np.isnan(latlon_deg[:, 0]).sum())
    if missing == len(latlon_deg):
        raise InputError(f"{claim.source}: says nothing about any frame of {track.name} ({alignment.statement})")
    why = f"{missing} frames take no part: the claimed track says nothing there, or has gaps over {MAX_GAP_S:g} s"
    return latlon_deg, alignment.statement, (why,) if missing else ()


def _log_ratios(
    session: Session, queries: np.ndarray, centres_deg: np.ndarray, radius_km: float
) -> tuple[np.ndarray, int]:
    """Return the log ratios of frames, and in how many the nearest place stood for an empty circle."""
    try:
        parts = [
            claim_log_ratios(
                session.gallery, queries[begin : begin + FRAMES_AT_ONCE], session.rule.posterior_scale,
                centres_deg[begin : begin + FRAMES_AT_ONCE], radius_km,
            )
            for begin in range(0, len(queries), FRAMES_AT_ONCE)
        ]  # fmt: skip
    except ValueError as error:
        raise UsageError(f"--claim: {error}: give a smaller radius") from error
    return np.concatenate([part.log_ratio for part in parts]), int(sum(part.took_nearest.sum() for part in parts))


def _judgement(
    tables: ClaimTables | None, statistic: float | None, shots: int, radius_km: float, session: Session
) -> Judgement:
    if statistic is None:
        return Judgement("cannot say", "no frame takes part: the model abstains on all that the claim speaks of")
    if tables is None:
        return Judgement("cannot say", f"the model {session.bundle.name} was never measured on claims")
    if radius_km > tables.radius_km:
        why = f"the model was measured on claims of {tables.radius_km:g} km, not of {radius_km:g} km"
        return Judgement("cannot say", why)
    return judge(tables, statistic, shots)
