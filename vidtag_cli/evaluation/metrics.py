"""How far predictions are from the truth, per frame and per video (docs/method.md 2.11, paper section 4.3 and appendix
E.1).

Coordinates are (N, 2) degrees of latitude, longitude. A row of NaN in the predictions is an abstention: it never
counts as within any distance, it stays in the count, and the median and mean of the located frames are given beside
the coverage. A row of NaN in the truth cannot be judged: it is left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vidtag_cli.geo.sphere import centroid_latlon, haversine_km

THRESHOLDS_KM = (0.5, 1.0, 5.0, 25.0, 200.0, 750.0, 2500.0)
"""Sub-street, street, locality and city of the paper, then region, country and continent."""


@dataclass(frozen=True, slots=True)
class DistanceMetrics:
    """Errors of frames, or of videos each taken as one place.

    ``share_within`` maps a distance in kilometres to the share of all ``count`` items, ``share_within_located`` to the
    share of the located ones. ``median_km`` and ``mean_km`` are over the located items, NaN without any. Items without
    truth are only counted in ``without_truth_count``.
    """

    count: int
    located_count: int
    without_truth_count: int
    share_within: Mapping[float, float]
    share_within_located: Mapping[float, float]
    median_km: float
    mean_km: float

    @property
    def coverage(self) -> float:
        """The share of items that were located; NaN without items."""
        return self.located_count / self.count if self.count else float("nan")


def frame_errors_km(truth_latlon_deg: np.ndarray, predicted_latlon_deg: np.ndarray) -> np.ndarray:
    """Return (N,) kilometres between truth and prediction; NaN where either is NaN.

    Raises ValueError unless both are (N, 2) of one length and every row is a position or NaN throughout.
    """
    truth, predicted = paired_latlon(truth_latlon_deg, predicted_latlon_deg)
    return np.asarray(haversine_km(truth, predicted))


def frame_metrics(
    truth_latlon_deg: np.ndarray,
    predicted_latlon_deg: np.ndarray,
    thresholds_km: Sequence[float] = THRESHOLDS_KM,
) -> DistanceMetrics:
    """Return the errors of the frames of one or of many videos laid end to end."""
    truth, predicted = paired_latlon(truth_latlon_deg, predicted_latlon_deg)
    has_truth = ~np.isnan(truth[:, 0])
    errors_km = np.asarray(haversine_km(truth[has_truth], predicted[has_truth]))
    return _summary(errors_km, int(np.sum(~has_truth)), thresholds_km)


def video_metrics(
    videos: Sequence[tuple[np.ndarray, np.ndarray]], thresholds_km: Sequence[float] = THRESHOLDS_KM
) -> DistanceMetrics:
    """Return the errors of videos given as pairs (truth, predicted) of (N, 2) degrees, N differing from video to
    video.
    """
    errors_km, without_truth_count = [], 0
    for truth_latlon_deg, predicted_latlon_deg in videos:
        truth, predicted = paired_latlon(truth_latlon_deg, predicted_latlon_deg)
        if np.all(np.isnan(truth[:, 0])):
            without_truth_count += 1
        else:
            errors_km.append(video_error_km(truth, predicted))
    return _summary(np.array(errors_km, dtype=np.float64), without_truth_count, thresholds_km)


def video_error_km(truth_latlon_deg: np.ndarray, predicted_latlon_deg: np.ndarray) -> float:
    """Return kilometres from the centroid of the truth to the prediction nearest the centroid of the predictions.

    Only frames that have a truth take part, and of them the located ones; NaN when all of them abstained. Raises
    ValueError when no frame has a truth or the truth has no centroid on the sphere.
    """
    truth, predicted = paired_latlon(truth_latlon_deg, predicted_latlon_deg)
    has_truth = ~np.isnan(truth[:, 0])
    if not has_truth.any():
        raise ValueError("no frame of the video has a true position")
    located = predicted[has_truth & ~np.isnan(predicted[:, 0])]
    if len(located) == 0:
        return float("nan")
    return float(haversine_km(centroid_latlon(truth[has_truth]), representative_latlon(located)))


def representative_latlon(latlon_deg: np.ndarray) -> np.ndarray:
    """Return that (2,) position of (N, 2) which is nearest to their centroid; outliers cannot draw it off the track.

    Positions that cancel out have no centroid: then the one with the smallest sum of distances to the others is
    returned.
    """
    try:
        to_centre_km = haversine_km(latlon_deg, centroid_latlon(latlon_deg))
    except ValueError:
        to_centre_km = haversine_km(latlon_deg[:, None], latlon_deg[None]).sum(1)
    return latlon_deg[int(np.argmin(to_centre_km))]


def paired_latlon(truth_latlon_deg: np.ndarray, predicted_latlon_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as (N, 2) float64.

    Raises ValueError unless the lengths agree and every row is a finite position or NaN throughout.
    """
    truth = np.asarray(truth_latlon_deg, dtype=np.float64)
    predicted = np.asarray(predicted_latlon_deg, dtype=np.float64)
    if truth.ndim != 2 or truth.shape != predicted.shape or truth.shape[1] != 2:
        raise ValueError(f"truth {truth.shape} and predictions {predicted.shape} must both be (N, 2), one row a frame")
    for name, latlon in (("truth", truth), ("prediction", predicted)):
        missing = np.isnan(latlon)
        in_range = (np.abs(latlon[:, 0]) <= 90.0) & (np.abs(latlon[:, 1]) <= 180.0)
        bad = np.flatnonzero(~(missing.all(1) | in_range))  # NaN is in no range
        if bad.size:
            raise ValueError(
                f"{name} of frame {bad[0]} is {latlon[bad[0]]}: neither a position in degrees nor NaN, NaN"
            )
    return truth, predicted


def _summary(errors_km: np.ndarray, without_truth_count: int, thresholds_km: Sequence[float]) -> DistanceMetrics:
    """Return the metrics of (N,) errors, NaN standing for an abstention."""
    located_km = errors_km[~np.isnan(errors_km)]
    within = {float(limit): int(np.sum(located_km <= limit)) for limit in thresholds_km}
    has_any = len(located_km) > 0
    return DistanceMetrics(
        count=len(errors_km),
        located_count=len(located_km),
        without_truth_count=without_truth_count,
        share_within={limit: _share(hits, len(errors_km)) for limit, hits in within.items()},
        share_within_located={limit: _share(hits, len(located_km)) for limit, hits in within.items()},
        median_km=float(np.median(located_km)) if has_any else float("nan"),
        mean_km=float(np.mean(located_km)) if has_any else float("nan"),
    )


def _share(hits: int, count: int) -> float:
    return hits / count if count else float("nan")
