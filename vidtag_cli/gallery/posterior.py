"""The posterior over the whole gallery: how likely each place is, weighted by the area it stands for (SPEC 3.5).

A point g with cosine c_g stands for an area A_g. Its mass is p_g = A_g exp(s c_g) / Z with Z the sum over all points
and s the model's logit scale. Dividing by the sum over the k places returned instead would call any single place
certain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidtag_cli.gallery.scan import PosteriorSums, TopCandidates, scan_gallery
from vidtag_cli.gallery.search import (
    SPARE_CANDIDATES,
    TIE_MARGIN,
    best_points,
    checked_queries,
    rows_of_points,
    search_gallery,
)
from vidtag_cli.gallery.store import Gallery
from vidtag_cli.geo.grid import KM_PER_DEGREE
from vidtag_cli.geo.sphere import haversine_km


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


def summarize_posterior(
    gallery: Gallery, queries: np.ndarray, logit_scale: float, log_cell_area: np.ndarray | None = None
) -> PosteriorSummary:
    """Return partition, best score, entropy and effective area of each query (N, E) in one pass over the gallery.

    ``logit_scale`` multiplies cosines (it is not a logarithm). ``log_cell_area`` (G,) replaces the gallery's own.
    """
    queries = checked_queries(gallery, queries)
    sums = _sums(gallery, queries, logit_scale, log_cell_area)
    scan_gallery(gallery, queries, sums)
    return _summary(sums)


def search_with_posterior(
    gallery: Gallery, queries: np.ndarray, k: int, logit_scale: float
) -> tuple[np.ndarray, np.ndarray, PosteriorSummary]:
    """Return what ``search_gallery`` and ``summarize_posterior`` return, from one pass over the gallery instead of two.

    The points and their scores are those of ``search_gallery`` to the last bit.
    """
    queries = checked_queries(gallery, queries)
    k = min(k, gallery.points)
    top = TopCandidates(len(queries), k + SPARE_CANDIDATES)
    sums = _sums(gallery, queries, logit_scale, None)
    scan_gallery(gallery, queries, top, sums)
    rows = [rows_of_points(gallery, top.points(n)) for n in range(len(queries))]
    scores, indices = best_points(gallery, queries, rows, k)
    # As in search_gallery: where a point left out might tie with the k-th, more are fetched.
    unsettled = np.flatnonzero(scores[:, -1] <= top.bound + TIE_MARGIN)
    if unsettled.size:
        scores[unsettled], indices[unsettled] = search_gallery(gallery, queries[unsettled], k)
    return scores, indices, _summary(sums)


def _sums(gallery: Gallery, queries: np.ndarray, logit_scale: float, log_cell_area: np.ndarray | None) -> PosteriorSums:
    log_area = gallery.log_cell_area() if log_cell_area is None else log_cell_area
    return PosteriorSums(len(queries), logit_scale, log_area)


def _summary(sums: PosteriorSums) -> PosteriorSummary:
    log_partition = sums.log_partition()
    entropy_nat = log_partition - sums.mean_logit()  # -sum p log(p / A), and log(p / A) = s c - log Z
    return PosteriorSummary(log_partition, sums.best_score, entropy_nat, np.exp(entropy_nat))


def log_partition(
    gallery: Gallery, queries: np.ndarray, logit_scale: float, log_cell_area: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return log Z (N,) and the highest cosine (N,) of each query, float64; see ``summarize_posterior``."""
    summary = summarize_posterior(gallery, queries, logit_scale, log_cell_area)
    return summary.log_partition, summary.best_score


def point_mass(
    gallery: Gallery, scores: np.ndarray, indices: np.ndarray, logit_scale: float, log_partition: np.ndarray
) -> np.ndarray:
    """Return the posterior mass (N, k) float64 of points found by ``search_gallery`` with these cosines (N, k)."""
    log_area = gallery.log_cell_area()[indices]
    mass = np.exp(scores.astype(np.float64) * logit_scale + log_area - log_partition[:, None])
    return np.minimum(mass, 1.0)  # log Z rests on float32 cosines and may be 1e-5 too small


def posterior_mass_within(
    gallery: Gallery,
    queries: np.ndarray,
    centres_latlon_deg: np.ndarray,
    radius_km: float,
    logit_scale: float,
    log_partition: np.ndarray,
) -> np.ndarray:
    """Return the posterior mass (N, K) float64 within ``radius_km`` of centres (N, K, 2), each with its query's own
    posterior.

    Only the points near a centre are scored again, so the cost does not grow with the gallery.
    """
    queries = checked_queries(gallery, queries)
    order = np.argsort(gallery.latlon_deg[:, 0], kind="stable")
    sorted_lat = gallery.latlon_deg[order, 0]
    mass = np.zeros(centres_latlon_deg.shape[:2])
    for n, k in np.ndindex(mass.shape):
        points = _points_within(gallery, order, sorted_lat, centres_latlon_deg[n, k], radius_km)
        scores = _point_scores(gallery, queries[n], points)
        mass[n, k] = np.exp(scores * logit_scale + gallery.log_cell_area()[points] - log_partition[n]).sum()
    return np.minimum(mass, 1.0)


def _points_within(
    gallery: Gallery, order: np.ndarray, sorted_lat: np.ndarray, centre: np.ndarray, radius_km: float
) -> np.ndarray:
    reach_deg = radius_km / KM_PER_DEGREE * 1.0001
    first, last = np.searchsorted(sorted_lat, [centre[0] - reach_deg, centre[0] + reach_deg])
    near = np.sort(order[first:last])
    return near[haversine_km(centre, gallery.latlon_deg[near]) <= radius_km]


def _point_scores(gallery: Gallery, query: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return float64 cosines of some points (rising indices), the better of two longitudes where there are two."""
    exact_query = query.astype(np.float64)
    scores = gallery.embeddings[points].astype(np.float64) @ exact_query
    aliased = np.flatnonzero(np.isin(points, gallery.alias_of))
    if aliased.size:
        rows = gallery.points + np.searchsorted(gallery.alias_of, points[aliased])
        scores[aliased] = np.maximum(scores[aliased], gallery.embeddings[rows].astype(np.float64) @ exact_query)
    return scores
