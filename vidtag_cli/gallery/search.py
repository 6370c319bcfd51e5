"""Exact search: the gallery points whose embeddings are nearest to those of the frames."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType

import numpy as np

from vidtag_cli.errors import ModelError
from vidtag_cli.gallery.blocks import block_rows, float32_rows
from vidtag_cli.gallery.store import Gallery

SEARCH_BLOCKS = 4
"""FAISS reads this many blocks of ``gallery.blocks`` at once: it needs no score matrix beside the block."""

SPARE_CANDIDATES = 16
"""Fetched beyond k, so that ties at the k-th place are seen and decided by index and not by chance."""

TIE_MARGIN = 3e-6
"""float32 sums of 512 products of unit vectors differ by less than this between two ways of adding them up."""

BLAS_FROM_PRODUCT = 2048
"""Queries x width from which a matrix product beats FAISS's own loop: 8 queries of 256, 4 of 512."""

BLAS_BLOCK_ROWS = 65536


@lru_cache(maxsize=1)
def tuned_faiss() -> ModuleType:
    """Return the faiss module with its matrix multiplication set for wide embeddings.

    FAISS multiplies matrices only from queries x width >= 128,000 on, and then in blocks of 1,024 vectors, which
    wastes five sixths of a core at 64 queries of width 512. Both numbers are global to the process and set here alone.
    A handful of queries keeps FAISS's own loop, which is faster for them.
    """
    import faiss

    faiss.cvar.distance_compute_blas_threshold = BLAS_FROM_PRODUCT
    faiss.cvar.distance_compute_blas_database_bs = BLAS_BLOCK_ROWS
    return faiss


def search_gallery(gallery: Gallery, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k best points of each query: cosines (N, k) float32, best first, and indices (N, k) int64.

    Exact over the whole gallery; equal cosines come in order of index; a point near the antimeridian counts once, with
    the better of its two longitudes. ``queries`` is (N, E) float32 unit vectors; when the gallery has fewer than k
    points, k is their number. Raises ModelError when the widths differ or a query is not finite.
    """
    queries = checked_queries(gallery, queries)
    k = min(k, gallery.points)
    scores = np.empty((len(queries), k), dtype=np.float32)
    indices = np.empty((len(queries), k), dtype=np.int64)
    pending, fetch = np.arange(len(queries)), k + SPARE_CANDIDATES
    while pending.size:
        fetch = min(fetch, len(gallery.embeddings))
        rows, lowest = _fetch_rows(gallery, queries[pending], fetch)
        found_scores, found_indices = best_points(gallery, queries[pending], rows, k)
        # Nothing left out can displace the k-th point of a settled query.
        settled = (found_scores[:, -1] > lowest + TIE_MARGIN) | (fetch == len(gallery.embeddings))
        done = pending[settled]
        scores[done], indices[done] = found_scores[settled], found_indices[settled]
        pending, fetch = pending[~settled], fetch * 4
    return scores, indices


def checked_queries(gallery: Gallery, queries: np.ndarray) -> np.ndarray:
    """Return queries as contiguous float32 (N, E); raises ModelError when they cannot be compared with the gallery."""
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    if queries.ndim != 2 or queries.shape[1] != gallery.width:
        raise ModelError(f"{gallery.path}: has embeddings of width {gallery.width}, the queries are {queries.shape}")
    if not np.isfinite(queries).all():
        raise ModelError("a frame's embedding is not finite: check the model with 'vidtag models verify'")
    return queries


def _fetch_rows(gallery: Gallery, queries: np.ndarray, fetch: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``fetch`` best rows of the embeddings (N, fetch), unordered, and the lowest of their scores (N,)."""
    faiss = tuned_faiss()
    best_scores = np.empty((len(queries), 0), dtype=np.float32)
    best_rows = np.empty((len(queries), 0), dtype=np.int64)
    step, total = SEARCH_BLOCKS * block_rows(gallery), len(gallery.embeddings)
    for start in range(0, total, step):
        block = float32_rows(gallery, start, min(start + step, total))
        block_scores, block_index = faiss.knn(queries, block, min(fetch, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
        best_scores = np.concatenate([best_scores, block_scores], axis=1)
        best_rows = np.concatenate([best_rows, block_index + start], axis=1)
        if best_scores.shape[1] > fetch:
            keep = np.argpartition(-best_scores, fetch - 1, axis=1)[:, :fetch]
            best_scores = np.take_along_axis(best_scores, keep, axis=1)
            best_rows = np.take_along_axis(best_rows, keep, axis=1)
    return best_rows, best_scores.min(axis=1)


def best_points(
    gallery: Gallery, queries: np.ndarray, rows: Sequence[np.ndarray] | np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (N, k) and indices (N, k) of the best points among candidate rows of the embeddings, one array of
    them for each query; -inf and -1 where too few are left.
    """
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    indices = np.full((len(queries), k), -1, dtype=np.int64)
    for n, query in enumerate(queries):
        # Scored again one row at a time, in float64: equal embeddings then have equal scores wherever they stand.
        exact = np.einsum("fe,e->f", gallery.embeddings[rows[n]].astype(np.float64), query.astype(np.float64))
        points = point_of_row(gallery, rows[n])
        order = np.lexsort((points, -exact.astype(np.float32)))
        _, first = np.unique(points[order], return_index=True)  # the better longitude of a point comes first
        order = order[np.sort(first)][:k]
        scores[n, : order.size], indices[n, : order.size] = exact[order], points[order]
    return scores, indices


def rows_of_points(gallery: Gallery, points: np.ndarray) -> np.ndarray:
    """Return the rows of the embeddings that belong to points: one each, two where there are two longitudes."""
    if gallery.alias_of.size == 0:
        return points
    found = np.searchsorted(gallery.alias_of, points).clip(max=gallery.alias_of.size - 1)
    return np.concatenate([points, gallery.points + found[gallery.alias_of[found] == points]])


def point_of_row(gallery: Gallery, rows: np.ndarray) -> np.ndarray:
    """Return the index of the point that each row of the embeddings belongs to."""
    if gallery.alias_of.size == 0:
        return rows
    aliases = gallery.alias_of[(rows - gallery.points).clip(min=0)]
    return np.where(rows < gallery.points, rows, aliases)
