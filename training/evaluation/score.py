"""The metrics of docs/method.md 2.11 over clips, each with its confidence interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.evaluation.predictions import Predictions
from vidtag_cli.evaluation.bootstrap import RESAMPLES, ClipResampling, Estimate, estimate_median, estimate_ratio
from vidtag_cli.evaluation.metrics import THRESHOLDS_KM, frame_errors_km, video_error_km
from vidtag_cli.evaluation.trajectory import curve_distances


@dataclass(frozen=True, slots=True)
class Score:
    """What predictions are worth; shares in [0, 1], distances in kilometres or, as the paper has them, degrees.

    An abstained frame or clip is a miss in every share and is left out of medians and means; ``coverage`` is the share
    of frames that were located. Frames and clips without a true position are only counted.
    """

    clips: int
    frames: int
    clips_without_truth: int
    frames_without_truth: int
    coverage: float
    frame_share_within: Mapping[float, Estimate]
    frame_median_km: Estimate
    video_share_within: Mapping[float, Estimate]
    video_median_km: Estimate
    dfd_deg: Estimate
    dfd_km: Estimate
    mrd_deg: Estimate
    mrd_km: Estimate


def score_predictions(
    predictions: Predictions,
    thresholds_km: Sequence[float] = THRESHOLDS_KM,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Score:
    """Return every metric over the clips that have a truth, with intervals from resampling whole clips.

    DFD and MRD are means over clips, as in the paper's tables.
    """
    has_truth = ~np.isnan(predictions.truth_latlon_deg[:, 0])
    frames = np.bincount(predictions.clip_of_frame()[has_truth], minlength=len(predictions))
    judged = predictions.select(frames > 0)
    resampling = ClipResampling(len(judged), seed, resamples)
    clip_of_frame = judged.clip_of_frame()
    with_truth = ~np.isnan(judged.truth_latlon_deg[:, 0])
    errors_km = frame_errors_km(judged.truth_latlon_deg, judged.predicted_latlon_deg)
    video_km = np.array([video_error_km(*clip) for clip in judged.clips()])

    def frame_share(limit_km: float) -> Estimate:
        hits = np.bincount(clip_of_frame, weights=errors_km <= limit_km, minlength=len(judged))
        return estimate_ratio(hits, frames[frames > 0], resampling)

    return Score(
        clips=len(judged),
        frames=int(with_truth.sum()),
        clips_without_truth=len(predictions) - len(judged),
        frames_without_truth=int((~has_truth).sum()),
        coverage=float(np.mean(~np.isnan(errors_km[with_truth]))) if with_truth.any() else float("nan"),
        frame_share_within={float(limit): frame_share(limit) for limit in thresholds_km},
        frame_median_km=estimate_median(errors_km, clip_of_frame, resampling),
        video_share_within={
            float(limit): estimate_ratio((video_km <= limit).astype(float), np.ones(len(judged)), resampling)
            for limit in thresholds_km
        },
        video_median_km=estimate_median(video_km, np.arange(len(judged)), resampling),
        **{
            name: _mean_over_clips(values, resampling) for name, values in curve_distances(list(judged.clips())).items()
        },
    )


def _mean_over_clips(values: np.ndarray, resampling: ClipResampling) -> Estimate:
    """Return the mean of one value (C,) a clip; NaN, a clip of which nothing was located, is left out."""
    located = ~np.isnan(values)
    return estimate_ratio(np.where(located, values, 0.0), located.astype(float), resampling)
