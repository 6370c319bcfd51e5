"""The posterior over the whole gallery: how likely each place is, weighted by the area it stands for (docs/method.md
3.5).

A point g with cosine c_g stands for an area A_g. Its mass is p_g = A_g exp(s c_g) / Z with Z the sum over all points
and s the model's logit scale. Dividing by the sum over the k places returned instead would call any single place
certain.

Scores are made tile by tile: a tile stays in a core's cache while it is compared, exponentiated and summed, so the pass
costs little more than the matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidtag_cli.gallery.search import (
    SPARE_CANDIDATES,
    TIE_MARGIN,
    best_points,
    checked_queries,
    rows_of_points,
    score_blocks,
    search_gallery,
)
from vidtag_cli.gallery.store import Gallery

TILE_BYTES = 1024 * 1024
"""Size of a tile of float32 scores: 4,096 points for 64 queries, which fits in the second-level cache of a core."""

MIN_TILE_POINTS = 1024

NEGLIGIBLE_LOG_WEIGHT = -40.0
"""Tiles whose weights are all below exp(-40) = 4e-18 of the largest so far are left out of the sums: even ten million
such points would add 4e-11, far below the float32 rounding of the weights.
"""


@dataclass(frozen=True, slots=True)
class PosteriorSummary:
    """One number for each query, float64 (N,).

    ``log_partition`` is log Z, with areas in km2. ``best_score`` is the highest cosine. ``entropy_nat`` is the
    differential entropy of the density over the globe, in nats relative to 1 km2, and ``effective_area_km2`` its
    exponential: the area over which an even spread would be as uncertain.
    """

    log_partition: np.ndarray
    best_score: np.ndarray
    entropy_nat: np.ndarray
    effective_area_km2: np.ndarray


def summarize_posterior(gallery: Gallery, queries: np.ndarray, logit_scale: float) -> PosteriorSummary:
    """Return partition, best score, entropy and effective area of each query (N, E) in one pass over the gallery.

    ``logit_scale`` multiplies cosines (it is not a logarithm).
    """
    queries = checked_queries(gallery, queries)
    sums = _PosteriorSums(len(queries), logit_scale, gallery.log_cell_area())
    _scan_gallery(gallery, queries, sums)
    return _summary(sums)


def search_with_posterior(
    gallery: Gallery, queries: np.ndarray, k: int, logit_scale: float
) -> tuple[np.ndarray, np.ndarray, PosteriorSummary]:
    """Return what ``search_gallery`` and ``summarize_posterior`` return, from one pass over the gallery instead of two.

    The points and their scores are those of ``search_gallery`` to the last bit.
    """
    queries = checked_queries(gallery, queries)
    k = min(k, gallery.points)
    top = _TopCandidates(len(queries), k + SPARE_CANDIDATES)
    sums = _PosteriorSums(len(queries), logit_scale, gallery.log_cell_area())
    _scan_gallery(gallery, queries, top, sums)
    rows = [rows_of_points(gallery, top.points(n)) for n in range(len(queries))]
    scores, indices = best_points(gallery, queries, rows, k)
    # As in search_gallery: where a point left out might tie with the k-th, more are fetched.
    unsettled = np.flatnonzero(scores[:, -1] <= top.bound + TIE_MARGIN)
    if unsettled.size:
        scores[unsettled], indices[unsettled] = search_gallery(gallery, queries[unsettled], k)
    return scores, indices, _summary(sums)


def sum_masses(gallery: Gallery, queries: np.ndarray, logit_scale: float, log_area: np.ndarray) -> np.ndarray:
    """Return (N,) float64 logarithms of the sum of exp(s c + log A) over the points whose ``log_area`` (G,) is finite,
    for queries (N, E); minus infinity where there is none.
    """
    queries = checked_queries(gallery, queries)
    tile_points = max(MIN_TILE_POINTS, TILE_BYTES // (4 * max(1, len(queries))))
    total = np.full(len(queries), -np.inf)
    for start, scores in score_blocks(gallery, queries, tile_points):
        counted = np.flatnonzero(np.isfinite(log_area[start : start + scores.shape[1]]))
        if counted.size:
            logs = scores[:, counted] * logit_scale + log_area[start + counted]
            top = logs.max(axis=1)
            total = np.logaddexp(total, top + np.log(np.exp(logs - top[:, None]).sum(axis=1)))
    return total


def point_mass(
    gallery: Gallery, scores: np.ndarray, indices: np.ndarray, logit_scale: float, log_partition: np.ndarray
) -> np.ndarray:
    """Return the posterior mass (N, k) float64 of points found by ``search_gallery`` with these cosines (N, k)."""
    log_area = gallery.log_cell_area()[indices]
    mass = np.exp(scores.astype(np.float64) * logit_scale + log_area - log_partition[:, None])
    return np.minimum(mass, 1.0)  # log Z rests on float32 cosines and may be 1e-5 too small


class _TopCandidates:
    """The points with the highest scores of each query, at least ``fetch`` of them, found tile by tile.

    ``bound`` (N,) rises: no point with a score above it has been dropped.
    """

    def __init__(self, queries: int, fetch: int) -> None:
        self.bound = np.full(queries, -np.inf, dtype=np.float32)
        self._fetch = fetch
        self._scores: list[list[np.ndarray]] = [[] for _ in range(queries)]
        self._points: list[list[np.ndarray]] = [[] for _ in range(queries)]
        self._waiting = np.zeros(queries, dtype=np.int64)

    def add(self, start: int, scores: np.ndarray) -> None:
        """Take the scores (N, n) of the points from ``start`` on."""
        for n in np.flatnonzero(scores.max(axis=1) > self.bound):
            columns = np.flatnonzero(scores[n] > self.bound[n])
            self._scores[n].append(scores[n, columns])
            self._points[n].append(columns + start)
            self._waiting[n] += columns.size
            if self._waiting[n] > 2 * self._fetch:
                self._keep_best(int(n))

    def points(self, n: int) -> np.ndarray:
        """Return the candidates of query ``n``: rising indices of points."""
        if self._waiting[n] > self._fetch:
            self._keep_best(n)
        return np.sort(np.concatenate([np.zeros(0, np.int64), *self._points[n]]))

    def _keep_best(self, n: int) -> None:
        scores, points = np.concatenate(self._scores[n]), np.concatenate(self._points[n])
        cut = np.argpartition(scores, scores.size - self._fetch)[-self._fetch :]
        self.bound[n] = scores[cut].min()
        self._scores[n], self._points[n] = [scores[cut]], [points[cut]]
        self._waiting[n] = cut.size


class _PosteriorSums:
    """Sums over points of the weights w = exp(s c + log A), of w log w and of w log A, all (N,) float64.

    Weights are relative to the largest so far, whose logarithm is ``top``: the logarithms that count are then near
    zero, so float32 holds them well. ``logit_scale`` is not negative.
    """

    def __init__(self, queries: int, logit_scale: float, log_cell_area: np.ndarray) -> None:
        self.top = np.full(queries, -np.inf)
        self.best_score = np.full(queries, -np.inf)
        self._mass, self._mass_times_log, self._mass_times_log_area = np.zeros((3, queries))
        self._scale = np.float32(logit_scale)
        self._log_area = log_cell_area
        self._has_one_area = log_cell_area.strides == (0,)  # a view of one number, see Gallery.log_cell_area

    def add(self, start: int, scores: np.ndarray) -> None:
        """Take the scores (N, n) of the points from ``start`` on."""
        best = scores.max(axis=1)
        self.best_score = np.maximum(self.best_score, best)
        log_area = self._log_area[start : start + scores.shape[1]]
        highest = best * self._scale + log_area.max()
        counted = np.flatnonzero(highest > self.top + NEGLIGIBLE_LOG_WEIGHT)
        if counted.size:
            self._add_counted(counted, scores if counted.size == len(scores) else scores[counted], log_area)

    def log_partition(self) -> np.ndarray:
        """Return log Z (N,)."""
        return np.log(self._mass) + self.top

    def mean_logit(self) -> np.ndarray:
        """Return the mean of s c under the posterior (N,)."""
        return (self._mass_times_log - self._mass_times_log_area) / self._mass + self.top

    def _add_counted(self, counted: np.ndarray, scores: np.ndarray, log_area: np.ndarray) -> None:
        logs = scores * self._scale
        logs += np.float32(log_area[0]) if self._has_one_area else log_area.astype(np.float32)
        top = self.top[counted]
        new_top = np.maximum(top, logs.max(axis=1))
        logs -= new_top[:, None].astype(np.float32)
        weights = np.exp(logs)
        # float32 within a tile, float64 across tiles.
        mass = weights.sum(axis=1).astype(np.float64)
        rescale = np.exp(top - new_top)
        shift = np.where(np.isfinite(top), top - new_top, 0.0)
        before = self._mass[counted]
        self._mass[counted] = before * rescale + mass
        self._mass_times_log[counted] = rescale * (self._mass_times_log[counted] + before * shift)
        self._mass_times_log[counted] += np.einsum("ng,ng->n", weights, logs)
        self._mass_times_log_area[counted] *= rescale
        self._mass_times_log_area[counted] += (
            mass * log_area[0] if self._has_one_area else np.einsum("ng,g->n", weights, log_area.astype(np.float32))
        )
        self.top[counted] = new_top


def _scan_gallery(gallery: Gallery, queries: np.ndarray, *takers: _TopCandidates | _PosteriorSums) -> None:
    """Show the scores of every point to ``takers`` in one pass; ``queries`` is (N, E) float32."""
    tile_points = max(MIN_TILE_POINTS, TILE_BYTES // (4 * max(1, len(queries))))
    for start, scores in score_blocks(gallery, queries, tile_points):
        for taker in takers:
            taker.add(start, scores)


def _summary(sums: _PosteriorSums) -> PosteriorSummary:
    log_partition = sums.log_partition()
    entropy_nat = log_partition - sums.mean_logit()  # -sum p log(p / A), and log(p / A) = s c - log Z
    return PosteriorSummary(log_partition, sums.best_score, entropy_nat, np.exp(entropy_nat))
