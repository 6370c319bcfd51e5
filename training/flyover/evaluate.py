"""Held-out flights: the metrics that a bundle carries, and the regions that are looked at by themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.flyover.features import FeatureStore
from vidtag_cli.evaluation.bootstrap import ClipResampling, estimate_median
from vidtag_cli.evaluation.metrics import frame_errors_km, frame_metrics
from vidtag_cli.evaluation.trajectory import curve_distances

THRESHOLDS_KM = (25.0, 50.0, 100.0, 200.0)

RESAMPLES = 1000

REGIONS = {
    "fiji": (-19.5, 176.5, -15.5, -178.5),
    "chukotka": (64.0, 172.0, 70.0, -170.0),
    "above_70n": (70.0, -180.0, 74.0, 180.0),
}
"""Boxes (south, west, north, east) in which flights start: two over the antimeridian, one in the far north."""


@dataclass(frozen=True, slots=True)
class FlightMetrics:
    """Metrics over one set of flights; distances in kilometres, DFD and MRD also in the paper's degrees."""

    clips: int
    frames: int
    median_km: float
    share_within: dict[str, float]
    mean_dfd_km: float
    mean_dfd_deg: float
    mean_mrd_km: float
    mean_mrd_deg: float
    median_ci95_km: tuple[float, float]


def measure(store: FeatureStore, predicted_latlon_deg: np.ndarray) -> FlightMetrics:
    """Return the metrics of predictions (B, T, 2) against the store's truth.

    The confidence interval of the median redraws whole clips: frames of a clip are not independent.
    """
    truth, predicted = store.latlon_deg, predicted_latlon_deg
    clips, clip_frames = truth.shape[:2]
    frames = frame_metrics(truth.reshape(-1, 2), predicted.reshape(-1, 2), THRESHOLDS_KM)
    curves = curve_distances(list(zip(truth, predicted, strict=True)))
    errors_km = frame_errors_km(truth.reshape(-1, 2), predicted.reshape(-1, 2))
    median = estimate_median(
        errors_km, np.repeat(np.arange(clips), clip_frames), ClipResampling(clips, seed=0, resamples=RESAMPLES)
    )
    return FlightMetrics(
        clips=clips,
        frames=frames.count,
        median_km=frames.median_km,
        share_within={f"{limit:g}": share for limit, share in frames.share_within.items()},
        mean_dfd_km=float(curves["dfd_km"].mean()),
        mean_dfd_deg=float(curves["dfd_deg"].mean()),
        mean_mrd_km=float(curves["mrd_km"].mean()),
        mean_mrd_deg=float(curves["mrd_deg"].mean()),
        median_ci95_km=(median.low, median.high),
    )
