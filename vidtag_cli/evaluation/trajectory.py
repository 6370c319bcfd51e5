"""How well a predicted curve follows the true one: discrete Frechet distance and mean range difference (appendix E.2,
E.3).

The paper gives both in degrees of the latitude-longitude plane without saying so. ``degrees`` here is that number,
made right where the plane is not: longitude differences go the short way round, and all longitudes of a pole are one
place. Away from seams it equals the planar number. ``km`` is measured on the sphere and is the one for people.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vidtag_cli.evaluation.metrics import paired_latlon
from vidtag_cli.geo.sphere import EARTH_RADIUS_KM, centroid_latlon, haversine_km, wrap_longitude_deg

KM_PER_DEGREE = EARTH_RADIUS_KM * np.pi / 180.0
AT_POLE_DEG = 90.0 - 1e-9


@dataclass(frozen=True, slots=True)
class TrajectoryDistance:
    """A distance between curves in degrees and kilometres, NaN when nothing was located.

    ``coverage`` is the share of frames with a truth that were located: the curve holds only these, so read it beside
    the distance.
    """

    degrees: float
    km: float
    coverage: float


def curve_distances(clips: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return (C,) ``dfd_deg``, ``dfd_km``, ``mrd_deg`` and ``mrd_km`` of clips, pairs (truth, predicted) of (N, 2)
    degrees, N differing from clip to clip; NaN where nothing was located.
    """
    frechet = [discrete_frechet(*clip) for clip in clips]
    ranges = [mean_range_difference(*clip) for clip in clips]
    return {
        f"{name}_{unit}": np.array([getattr(distance, attribute) for distance in distances], dtype=np.float64)
        for name, distances in (("dfd", frechet), ("mrd", ranges))
        for unit, attribute in (("deg", "degrees"), ("km", "km"))
    }


def discrete_frechet(truth_latlon_deg: np.ndarray, predicted_latlon_deg: np.ndarray) -> TrajectoryDistance:
    """Return the coupling distance (Eiter and Mannila 1994) between the true track and the located predictions, both
    (N, 2).

    Frames without truth leave both curves; abstained frames (NaN) leave the predicted curve only.
    """
    truth, predicted, coverage = _curves(truth_latlon_deg, predicted_latlon_deg)
    if len(truth) == 0 or len(predicted) == 0:
        return TrajectoryDistance(float("nan"), float("nan"), coverage)
    return TrajectoryDistance(
        coupling_distance(truth, predicted, plane_distance_deg),
        coupling_distance(truth, predicted, haversine_km),
        coverage,
    )


def mean_range_difference(truth_latlon_deg: np.ndarray, predicted_latlon_deg: np.ndarray) -> TrajectoryDistance:
    """Return the mean over latitude and longitude of the difference between the ranges of two (N, 2) tracks of one
    video.

    The paper's table holds its mean over videos. The range of longitudes is the smallest arc that holds them all. In
    kilometres the longitudes of both tracks are scaled by the cosine of the true track's central latitude.
    """
    truth, predicted, coverage = _curves(truth_latlon_deg, predicted_latlon_deg)
    if len(truth) == 0 or len(predicted) == 0:
        return TrajectoryDistance(float("nan"), float("nan"), coverage)
    lat_deg = abs(float(np.ptp(truth[:, 0])) - float(np.ptp(predicted[:, 0])))
    lon_deg = abs(longitude_range_deg(truth) - longitude_range_deg(predicted))
    scale = float(np.cos(np.deg2rad(centroid_latlon(truth)[0])))
    return TrajectoryDistance((lat_deg + lon_deg) / 2.0, (lat_deg + lon_deg * scale) / 2.0 * KM_PER_DEGREE, coverage)


def plane_distance_deg(from_latlon_deg: np.ndarray, to_latlon_deg: np.ndarray) -> np.ndarray:
    """Return distances in degrees of the latitude-longitude plane whose edges are joined as on the globe.

    The shortest of the straight line, with longitude the short way round, and the ways over the poles: each pole is
    one point.
    """
    lat_step = to_latlon_deg[..., 0] - from_latlon_deg[..., 0]
    lon_step = wrap_longitude_deg(to_latlon_deg[..., 1] - from_latlon_deg[..., 1])
    over_north = 180.0 - from_latlon_deg[..., 0] - to_latlon_deg[..., 0]
    over_south = 180.0 + from_latlon_deg[..., 0] + to_latlon_deg[..., 0]
    return np.minimum(np.hypot(lat_step, lon_step), np.minimum(over_north, over_south))


def longitude_range_deg(latlon_deg: np.ndarray) -> float:
    """Return the smallest arc of longitudes, in [0, 360) degrees, that holds (N, 2) positions; poles have no
    longitude.
    """
    lon_deg = np.unique(wrap_longitude_deg(latlon_deg[np.abs(latlon_deg[:, 0]) < AT_POLE_DEG, 1]))
    if len(lon_deg) == 0:
        return 0.0
    gaps = np.diff(lon_deg, append=lon_deg[0] + 360.0)
    return float(360.0 - gaps.max())


def coupling_distance(
    first_latlon_deg: np.ndarray,
    second_latlon_deg: np.ndarray,
    distance: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> float:
    """Return the discrete Frechet distance of (N, 2) and (M, 2) curves under a distance of broadcast positions.

    The table of Eiter and Mannila is filled along its anti-diagonals: N + M array operations, memory for three of them.
    """
    n, m = len(first_latlon_deg), len(second_latlon_deg)
    # Index i + 1 holds row i of a diagonal; everything outside the table stays infinite.
    before_last, last = np.full(n + 1, np.inf), np.full(n + 1, np.inf)
    for diagonal in range(n + m - 1):
        rows = np.arange(max(0, diagonal - m + 1), min(diagonal, n - 1) + 1)
        steps = distance(first_latlon_deg[rows], second_latlon_deg[diagonal - rows])
        reached = np.minimum(before_last[rows], np.minimum(last[rows], last[rows + 1]))
        if diagonal == 0:
            reached = np.zeros(1)
        before_last, last = last, np.full(n + 1, np.inf)
        last[rows + 1] = np.maximum(reached, steps)
    return float(last[n])


def _curves(truth_latlon_deg: np.ndarray, predicted_latlon_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    truth, predicted = paired_latlon(truth_latlon_deg, predicted_latlon_deg)
    has_truth = ~np.isnan(truth[:, 0])
    located = has_truth & ~np.isnan(predicted[:, 0])
    coverage = float(located.sum() / has_truth.sum()) if has_truth.any() else float("nan")
    return truth[has_truth], predicted[located], coverage
