"""Held-out flights: the metrics that a bundle carries, and the regions that are looked at by themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.flyover.features import FeatureStore
from vidtag_cli.evaluation.metrics import frame_errors_km, frame_metrics
from vidtag_cli.evaluation.trajectory import discrete_frechet, mean_range_difference

THRESHOLDS_KM = (25.0, 50.0, 100.0, 200.0)

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

    The confidence interval of the median comes from 1,000 bootstrap draws of whole clips: frames of a clip are not
    independent.
    """
    truth, predicted = store.latlon_deg, predicted_latlon_deg
    frames = frame_metrics(truth.reshape(-1, 2), predicted.reshape(-1, 2), THRESHOLDS_KM)
    frechet = [discrete_frechet(*pair) for pair in zip(truth, predicted, strict=True)]
    ranges = [mean_range_difference(*pair) for pair in zip(truth, predicted, strict=True)]
    errors_km = frame_errors_km(truth.reshape(-1, 2), predicted.reshape(-1, 2)).reshape(truth.shape[:2])
    rng = np.random.default_rng(0)
    medians = [np.median(errors_km[rng.integers(0, len(truth), len(truth))]) for _ in range(1000)]
    low, high = np.percentile(medians, [2.5, 97.5])
    return FlightMetrics(
        clips=len(truth),
        frames=frames.count,
        median_km=frames.median_km,
        share_within={f"{limit:g}": share for limit, share in frames.share_within.items()},
        mean_dfd_km=float(np.mean([distance.km for distance in frechet])),
        mean_dfd_deg=float(np.mean([distance.degrees for distance in frechet])),
        mean_mrd_km=float(np.mean([distance.km for distance in ranges])),
        mean_mrd_deg=float(np.mean([distance.degrees for distance in ranges])),
        median_ci95_km=(float(low), float(high)),
    )
