"""Nearest neighbours on the sphere."""

from __future__ import annotations

import numpy as np

from vidtag_cli.geo.sphere import haversine_km, unit_vector

FIRST_SLAB_DEG = 0.05
"""Half height of the first slab of latitudes looked through; it doubles until the nearest point is certain."""


def nearest_neighbour(latlon_deg: np.ndarray, among_latlon_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for (N, 2) positions, the distance (N,) km to and the index (N,) of the nearest of (M, 2) positions.

    Exact: a point further away in latitude alone than the best found so far cannot be nearer. Raises ValueError when
    there is nothing to search among.
    """
    if len(among_latlon_deg) == 0:
        raise ValueError("there are no positions to search among")
    order = np.argsort(among_latlon_deg[:, 0], kind="stable")
    sorted_lat = among_latlon_deg[order, 0]
    sorted_vectors = unit_vector(among_latlon_deg[order])
    vectors = unit_vector(latlon_deg)
    slab_deg = FIRST_SLAB_DEG
    positions = np.empty(len(latlon_deg), dtype=np.int64)
    for row, vector in enumerate(vectors):
        positions[row], slab_deg = _search_slabs(latlon_deg[row, 0], vector, sorted_lat, sorted_vectors, slab_deg)
    indices = order[positions]
    return haversine_km(latlon_deg, among_latlon_deg[indices]), indices


def _search_slabs(
    lat_deg: float, vector: np.ndarray, sorted_lat: np.ndarray, sorted_vectors: np.ndarray, slab_deg: float
) -> tuple[int, float]:
    """Return the nearest place in the sorted arrays and a slab height to start the next search with."""
    while True:
        first, last = np.searchsorted(sorted_lat, [lat_deg - slab_deg, lat_deg + slab_deg])
        if last > first:
            chord2 = ((sorted_vectors[first:last] - vector) ** 2).sum(axis=1)
            best = int(chord2.argmin())
            angle_deg = float(np.rad2deg(2.0 * np.arcsin(min(1.0, np.sqrt(chord2[best]) / 2.0))))
            if angle_deg <= slab_deg or last - first == len(sorted_lat):
                return first + best, max(FIRST_SLAB_DEG, min(angle_deg * 1.25, slab_deg))
            slab_deg = angle_deg * 1.0001
        else:
            slab_deg *= 2.0
