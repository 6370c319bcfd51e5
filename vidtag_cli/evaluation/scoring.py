"""Located videos against their true tracks: the metrics of SPEC 2.11."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from vidtag_cli.errors import InputError
from vidtag_cli.evaluation.metrics import DistanceMetrics, frame_errors_km, frame_metrics, video_metrics
from vidtag_cli.evaluation.trajectory import curve_distances
from vidtag_cli.evaluation.truth import positions_at, read_truth
from vidtag_cli.positions.reading import READERS
from vidtag_cli.track import Track


@dataclass(frozen=True, slots=True)
class ScoredTrack:
    """One track beside its truth; rows of ``predicted_latlon_deg`` (N, 2) are NaN where the frame abstained."""

    track: Track
    truth_latlon_deg: np.ndarray
    predicted_latlon_deg: np.ndarray

    def errors_km(self) -> np.ndarray:
        """Return (N,) kilometres; NaN where the frame abstained or the truth says nothing."""
        return frame_errors_km(self.truth_latlon_deg, self.predicted_latlon_deg)

    def inside_circles(self) -> np.ndarray:
        """Return (M, 2) bool for the located frames with a truth: inside the 50 % and inside the 95 % circle or not."""
        judged = [
            (1000.0 * error_km <= point.radius50_m, 1000.0 * error_km <= point.radius95_m)
            for point, error_km in zip(self.track.points, self.errors_km(), strict=True)
            if point.radius50_m is not None and point.radius95_m is not None and math.isfinite(error_km)
        ]
        return np.array(judged, dtype=bool).reshape(-1, 2)


def truth_beside(video: Path) -> Path:
    """Return the truth file that has the video's name and another suffix; raises InputError when there is none."""
    candidates = [video.with_suffix(suffix) for suffix in READERS]
    for candidate in candidates:
        if os.path.isfile(candidate):  # False for a name that is too long, where Path.is_file raises
            return candidate
    names = ", ".join(candidate.name for candidate in candidates)
    raise InputError(f"{video}: no true track beside it ({names}): name it with --truth")


def score_track(
    track: Track, truth_path: Path, media_zero_utc: datetime | None, first_fix_at_s: float | None
) -> ScoredTrack:
    """Return a track beside its truth at the times of its frames.

    A truth in absolute time needs one of the two alignments of ``positions_at``; without either its first fix is taken
    to be the first analysed frame. Raises InputError when no frame has a true position.
    """
    truth = read_truth(truth_path)
    times_s = np.array([point.media_time_s for point in track.points])
    index = np.array([point.frame_index for point in track.points])
    if truth.clock == "utc" and media_zero_utc is None and first_fix_at_s is None:
        first_fix_at_s = float(times_s[0])
    latlon = positions_at(
        truth, times_s, media_zero_utc=media_zero_utc, first_fix_at_s=first_fix_at_s,
        frame_index=index if truth.clock == "frame" else None,
    )  # fmt: skip
    if np.isnan(latlon).all():
        raise InputError(f"{truth_path}: says nothing about any frame of {track.name}: are the times aligned?")
    predicted = np.array([
        (point.lat_deg, point.lon_deg) if point.status == "ok" else (math.nan, math.nan) for point in track.points
    ])  # fmt: skip
    return ScoredTrack(track, latlon, predicted.astype(np.float64))


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
