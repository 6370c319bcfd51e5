"""The best points of a search in the order of embeddings computed afresh, without the rounding of stored ones."""

from __future__ import annotations

import numpy as np

from vidtag_cli.gallery.build import Embed, embed_coordinates, other_longitude
from vidtag_cli.gallery.search import checked_queries
from vidtag_cli.gallery.store import Gallery


def rescore_points(
    gallery: Gallery, queries: np.ndarray, indices: np.ndarray, embed: Embed
) -> tuple[np.ndarray, np.ndarray]:
    """Return points found by ``search_gallery`` with new cosines (N, k) float32, best first, and indices (N, k) int64.

    A gallery stores float16, which moves a cosine by up to 1e-5: enough for neighbouring places to change their order.
    ``embed`` is that of the gallery's own location encoder; points that several queries share are embedded once. As in
    the search, equal cosines come in order of index, and of two longitudes the better counts.
    """
    queries = checked_queries(gallery, queries)
    if indices.size == 0:
        return np.zeros(indices.shape, np.float32), indices
    points = np.unique(indices)
    across = np.flatnonzero(np.isin(points, gallery.alias_of))
    places = np.asarray(gallery.latlon_deg[points])
    embedding = embed_coordinates(np.concatenate([places, other_longitude(places[across])]), embed)
    scores = np.empty(indices.shape, dtype=np.float32)
    order = np.empty(indices.shape, dtype=np.int64)
    for n, query in enumerate(queries):
        cosines = _cosines(embedding, np.searchsorted(points, indices[n]), across, len(points), query)
        best = np.lexsort((indices[n], -cosines))
        scores[n], order[n] = cosines[best], indices[n, best]
    return scores, order


def _cosines(embedding: np.ndarray, rows: np.ndarray, across: np.ndarray, points: int, query: np.ndarray) -> np.ndarray:
    """Return the cosines (k,) float32 of some rows; row ``points + i`` is row ``across[i]`` seen across the seam."""
    # One row at a time, in float64: equal embeddings then have equal scores wherever they stand.
    exact_query = query.astype(np.float64)
    cosines = np.einsum("ke,e->k", embedding[rows].astype(np.float64), exact_query)
    both = np.flatnonzero(np.isin(rows, across))
    if both.size:
        other = points + np.searchsorted(across, rows[both])
        across_seam = np.einsum("ke,e->k", embedding[other].astype(np.float64), exact_query)
        cosines[both] = np.maximum(cosines[both], across_seam)
    return cosines.astype(np.float32)
