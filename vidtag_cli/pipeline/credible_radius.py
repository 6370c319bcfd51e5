"""How far around an estimate the model's own posterior reaches: a statement about the model, not about the world."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vidtag_cli.gallery.search import checked_queries, score_blocks
from vidtag_cli.gallery.store import Gallery
from vidtag_cli.geo.sphere import EARTH_RADIUS_KM, haversine_km

FARTHEST_KM = float(np.pi * EARTH_RADIUS_KM)

_EDGES_KM = np.geomspace(0.1, FARTHEST_KM, 1227)
"""Distances are counted in bins one per cent wide, so memory is the same for every gallery and posterior."""

_NEGLIGIBLE_LOG_MASS = -25.0
"""Points with less mass (1e-11) are not measured: ten million of them would add up to a ten-thousandth."""


def credible_radii_km(
    gallery: Gallery,
    queries: np.ndarray,
    centres_latlon_deg: np.ndarray,
    logit_scale: float,
    log_partition: np.ndarray,
    shares: Sequence[float],
) -> np.ndarray:
    """Return (N, len(shares)) kilometres: the circles around centres (N, 2) that hold these shares of the posteriors.

    ``log_partition`` (N,) is that of :func:`~vidtag_cli.gallery.posterior.summarize_posterior`. A point's mass counts
    as inside when all of the area it stands for is, taken as a disc: a single point is no position without extent.
    Radii are rounded up, by at most one per cent.
    """
    queries = checked_queries(gallery, queries)
    log_area = gallery.log_cell_area()
    extent_km = np.sqrt(np.exp(log_area) / np.pi)
    mass = np.zeros((len(queries), len(_EDGES_KM)))
    for start, scores in score_blocks(gallery, queries):
        stop = start + scores.shape[1]
        log_mass = scores * logit_scale + log_area[start:stop] - log_partition[:, None]
        for row, centre in enumerate(centres_latlon_deg):
            heavy = np.flatnonzero(log_mass[row] > _NEGLIGIBLE_LOG_MASS)
            reach_km = haversine_km(centre, gallery.latlon_deg[start:stop][heavy]) + extent_km[start:stop][heavy]
            bins = np.searchsorted(_EDGES_KM, np.minimum(reach_km, FARTHEST_KM))
            mass[row] += np.bincount(bins, np.exp(log_mass[row, heavy]), minlength=len(_EDGES_KM))
    inside = np.cumsum(mass, axis=1)
    inside /= inside[:, -1:]
    return np.stack([_EDGES_KM[(inside >= share).argmax(axis=1)] for share in shares], axis=-1)
