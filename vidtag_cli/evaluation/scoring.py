"""Located videos against their true tracks: the metrics of docs/method.md 2.11."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidtag_cli.errors import InputError
from vidtag_cli.evaluation.alignment import Alignment, align_truth
from vidtag_cli.evaluation.metrics import DistanceMetrics, frame_errors_km, frame_metrics, video_metrics
from vidtag_cli.evaluation.trajectory import curve_distances
from vidtag_cli.evaluation.truth import MAX_GAP_S, Truth, media_times_s, positions_at
from vidtag_cli.track import Track


@dataclass(frozen=True, slots=True)
class ScoredTrack:
    """One track beside its truth; rows of ``predicted_latlon_deg`` (N, 2) are NaN where the frame abstained."""

    track: Track
    truth_latlon_deg: np.ndarray
    predicted_latlon_deg: np.ndarray
    truth: Truth
    alignment: Alignment
    max_gap_s: float

    def errors_km(self) -> np.ndarray:
        """Return (N,) kilometres; NaN where the frame abstained or the truth says nothing."""
        return frame_errors_km(self.truth_latlon_deg, self.predicted_latlon_deg)

    def frames_in_gaps(self) -> int:
        """Return how many frames lie within the truth's time but between positions too far apart to say where."""
        if self.truth.clock == "frame":
            return 0
        begin_s, end_s = _span_s(self.truth, self.alignment)
        times_s = np.array([point.media_time_s for point in self.track.points])
        return int(np.sum(np.isnan(self.truth_latlon_deg[:, 0]) & (times_s > begin_s) & (times_s < end_s)))

    def inside_circles(self) -> np.ndarray:
        """Return (M, 2) bool for the located frames with a truth: inside the 50 % and inside the 95 % circle or not."""
        judged = [
            (1000.0 * error_km <= point.radius50_m, 1000.0 * error_km <= point.radius95_m)
            for point, error_km in zip(self.track.points, self.errors_km(), strict=True)
            if point.radius50_m is not None and point.radius95_m is not None and math.isfinite(error_km)
        ]
        return np.array(judged, dtype=bool).reshape(-1, 2)


def score_track(
    track: Track, truth: Truth, *, first_fix_at_s: float | None = None, max_gap_s: float = MAX_GAP_S
) -> ScoredTrack:
    """Return a track beside its truth at the times of its frames, tied together by ``align_truth``.

    Raises InputError when no frame has a true position.
    """
    alignment = align_truth(truth, track, first_fix_at_s)
    times_s = np.array([point.media_time_s for point in track.points])
    index = np.array([point.frame_index for point in track.points])
    latlon = positions_at(
        truth, times_s, media_zero_utc=alignment.media_zero_utc, first_fix_at_s=alignment.first_fix_at_s,
        frame_index=index if truth.clock == "frame" else None, max_gap_s=max_gap_s,
    )  # fmt: skip
    if np.isnan(latlon).all():
        raise InputError(f"{truth.name}: {_no_frame_text(truth, alignment, track, max_gap_s)}")
    predicted = np.array([
        (point.lat_deg, point.lon_deg) if point.status == "ok" else (math.nan, math.nan) for point in track.points
    ])  # fmt: skip
    return ScoredTrack(track, latlon, predicted.astype(np.float64), truth, alignment, max_gap_s)


def _no_frame_text(truth: Truth, alignment: Alignment, track: Track, max_gap_s: float) -> str:
    first_s, last_s = track.points[0].media_time_s, track.points[-1].media_time_s
    said = f"says nothing about any frame of {track.name}"
    if truth.clock == "frame":
        return f"{said}: its frames are {truth.instants[0]:.0f} to {truth.instants[-1]:.0f}"
    begin_s, end_s = _span_s(truth, alignment)
    if begin_s <= last_s and first_s <= end_s:
        return f"{said}: its positions there are more than {max_gap_s:g} s apart or in different segments: --max-gap-s"
    return (
        f"{said}: it covers {begin_s:.3f} to {end_s:.3f} s of media time and the frames {first_s:.3f} to {last_s:.3f} "
        f"({alignment.statement}): are the times aligned?"
    )


def _span_s(truth: Truth, alignment: Alignment) -> tuple[float, float]:
    """Return the media times of the first and the last position of a truth."""
    times_s = media_times_s(truth, alignment.media_zero_utc, alignment.first_fix_at_s)
    return float(times_s[0]), float(times_s[-1])


def truth_record(scored: ScoredTrack) -> dict[str, Any]:
    """Return the truth of a track as a JSON object: which file, its hash, and how it was tied to the video."""
    truth, alignment, source = scored.truth, scored.alignment, scored.truth.source
    return {
        **({} if source is None else {"sha256": source.sha256, "format": source.format_name}),
        "clock": truth.clock,
        "positions": len(truth.instants),
        "left_out": {} if source is None else {reason: len(places) for reason, places in source.left_out.items()},
        "alignment": {
            "method": alignment.method,
            "statement": alignment.statement,
            "media_zero_utc": None if alignment.media_zero_utc is None else alignment.media_zero_utc.isoformat(),
            "first_entry_media_time_s": alignment.first_fix_at_s,
        },
        "max_gap_s": scored.max_gap_s,
        "frames": len(scored.track.points),
        "frames_without_truth": int(np.isnan(scored.truth_latlon_deg[:, 0]).sum()),
        "frames_in_gaps": scored.frames_in_gaps(),
    }


def summarize_scores(scored: Sequence[ScoredTrack], thresholds_km: Sequence[float]) -> dict[str, Any]:
    """Return the metrics over all tracks as a JSON object; what cannot be computed is None, never NaN."""
    pairs = [(entry.truth_latlon_deg, entry.predicted_latlon_deg) for entry in scored]
    truth, predicted = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return {
        "frames": _record(frame_metrics(truth, predicted, thresholds_km)),
        "videos": _record(video_metrics(pairs, thresholds_km)),
        "circles": _circles(scored),
        **{f"mean_{name}": _finite(np.mean(values)) for name, values in curve_distances(pairs).items()},
    }


def _circles(scored: Sequence[ScoredTrack]) -> dict[str, Any]:
    """Return in how many frames the circles could be judged, and the share of these in which they held the truth."""
    inside = np.concatenate([entry.inside_circles() for entry in scored])
    shares = inside.mean(axis=0) if len(inside) else np.full(2, math.nan)
    return {
        "frames": len(inside),
        "share_within_radius50": _finite(shares[0]),
        "share_within_radius95": _finite(shares[1]),
    }


def _record(metrics: DistanceMetrics) -> dict[str, Any]:
    return {
        "count": metrics.count,
        "located": metrics.located_count,
        "without_truth": metrics.without_truth_count,
        "coverage": _finite(metrics.coverage),
        "median_km": _finite(metrics.median_km),
        "mean_km": _finite(metrics.mean_km),
        "share_within_km": {f"{limit:g}": _finite(share) for limit, share in metrics.share_within.items()},
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
