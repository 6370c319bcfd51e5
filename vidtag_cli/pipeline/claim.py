"""The belief of frames inside a claimed circle against the rest of the searched places (docs/method.md 3.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidtag_cli.gallery.posterior import MIN_TILE_POINTS, TILE_BYTES
from vidtag_cli.gallery.search import checked_queries, score_blocks
from vidtag_cli.gallery.store import Gallery
from vidtag_cli.geo.nearest import nearest_neighbour
from vidtag_cli.geo.sphere import EARTH_RADIUS_KM, unit_vector


@dataclass(frozen=True, slots=True, eq=False)
class ClaimedFrames:
    """Frames before a claim: ``log_ratio`` (N,) float64 nats, and whether the circle held no point (N,), so that the
    nearest one stands for it.
    """

    log_ratio: np.ndarray
    took_nearest: np.ndarray


@dataclass(frozen=True, slots=True)
class ShotStatistic:
    """What one shot says of a claim: the weighted mean of its frames' log ratios, in nats."""

    shot: int
    statistic: float
    frames: int


def claim_log_ratios(
    gallery: Gallery, queries: np.ndarray, logit_scale: float, centres_deg: np.ndarray, radius_km: float
) -> ClaimedFrames:
    """Return log[(belief inside / area inside) / (belief outside / area outside)] of frames (N, E) for the circles of
    ``radius_km`` around (N, 2) centres, in one pass over the gallery.

    Areas are those that the points stand for. A circle that holds no point is given the one nearest to its centre.
    Raises ValueError for a circle that holds all points: nothing would be left to compare with.
    """
    queries = checked_queries(gallery, queries)
    _, nearest = nearest_neighbour(centres_deg, np.asarray(gallery.latlon_deg))
    centres, least_cosine = unit_vector(centres_deg), np.cos(min(radius_km / EARTH_RADIUS_KM, np.pi))
    log_area = gallery.log_cell_area()
    area_inside = np.zeros(len(queries))
    log_inside, log_outside = np.full((2, len(queries)), -np.inf)
    took_nearest = np.ones(len(queries), bool)
    tile_points = max(MIN_TILE_POINTS, TILE_BYTES // (8 * max(1, len(queries))))
    for start, scores in score_blocks(gallery, queries, tile_points):
        stop = start + scores.shape[1]
        is_inside = centres @ unit_vector(np.asarray(gallery.latlon_deg[start:stop])).T >= least_cosine  # (N, n)
        took_nearest &= ~is_inside.any(axis=1)
        is_inside |= np.arange(start, stop) == nearest[:, None]
        logs = scores.astype(np.float64) * logit_scale + log_area[start:stop]
        columns = np.flatnonzero(is_inside.any(axis=0))  # few: a circle is small
        log_inside = np.logaddexp(log_inside, _log_sum(logs[:, columns], is_inside[:, columns]))
        log_outside = np.logaddexp(log_outside, _log_sum(logs, ~is_inside))
        area_inside += is_inside[:, columns] @ np.exp(log_area[start + columns])
    if not np.isfinite(log_outside).all():
        raise ValueError("the claimed circle holds every place that is searched")
    area_outside = np.exp(log_area).sum() - area_inside
    return ClaimedFrames(log_inside - np.log(area_inside) - log_outside + np.log(area_outside), took_nearest)


def _log_sum(logs: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return log of the sums of exp(logs) (N, n) over the chosen columns of each row; -inf where none is."""
    if logs.shape[1] == 0:
        return np.full(len(logs), -np.inf)
    masked = np.where(chosen, logs, -np.inf)
    top = masked.max(axis=1)
    base = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        total: np.ndarray = np.log(np.exp(masked - base[:, None]).sum(axis=1)) + base
    return total


def shot_statistics(log_ratio: np.ndarray, weights: np.ndarray, shots: Sequence[int]) -> tuple[ShotStatistic, ...]:
    """Return one statistic for each shot of frames (N,) with weights (N,) above 0; a picture that repeats counts
    once.
    """
    shot_of = np.asarray(shots)
    return tuple(
        ShotStatistic(
            int(shot), float(np.average(log_ratio[shot_of == shot], weights=weights[shot_of == shot])),
            int((shot_of == shot).sum()),
        )
        for shot in np.unique(shot_of)
    )  # fmt: skip


def clip_statistic(shots: Sequence[ShotStatistic]) -> float:
    """Return the least of the shots' statistics: a claim speaks of the whole clip, and one shot can refute it."""
    return min(shot.statistic for shot in shots)
