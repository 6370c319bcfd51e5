"""Exact search: the gallery points whose embeddings are nearest to those of the frames.

Embeddings are read as float32, block by block, so that memory stays bounded whatever the size of the gallery.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from types import ModuleType
from weakref import WeakKeyDictionary

import numpy as np

from vidtag_cli.errors import ModelError
from vidtag_cli.gallery.build import Embed, embed_coordinates, other_longitude
from vidtag_cli.gallery.store import EMBEDDINGS_FILE, Gallery, first_odd_row

BLOCK_BYTES = 128 * 1024 * 1024
"""Size of a float32 block that is converted on the way: 65,536 rows of width 512."""

RESIDENT_BYTES = 1024 * 1024 * 1024
"""A gallery whose float32 form fits in this is converted once and kept: half a million points of width 512."""

SEARCH_BLOCKS = 4
"""FAISS reads this many blocks at once: it needs no score matrix beside the block."""

SPARE_CANDIDATES = 16
"""Fetched beyond k, so that ties at the k-th place are seen and decided by index and not by chance."""

TIE_MARGIN = 3e-6
"""float32 sums of 512 products of unit vectors differ by less than this between two ways of adding them up."""

BLAS_FROM_PRODUCT = 2048
"""Queries x width from which a matrix product beats FAISS's own loop: 8 queries of 256, 4 of 512."""

BLAS_BLOCK_ROWS = 65536

SHORTEST_QUERY, LONGEST_QUERY = 1e-6, 1e6
"""Queries are unit vectors, more or less; beyond these lengths scores or their exponentials are no numbers."""

_resident: WeakKeyDictionary[Gallery, np.ndarray] = WeakKeyDictionary()

_is_checked: WeakKeyDictionary[Gallery, np.ndarray] = WeakKeyDictionary()
"""Which rows of a gallery were seen to be unit vectors, (R,) bool."""


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
        best_scores, best_indices = best_points(gallery, queries[pending], rows, k)
        # Nothing left out can displace the k-th point of a settled query.
        settled = (best_scores[:, -1] > lowest + TIE_MARGIN) | (fetch == len(gallery.embeddings))
        done = pending[settled]
        scores[done], indices[done] = best_scores[settled], best_indices[settled]
        pending, fetch = pending[~settled], fetch * 4
    return scores, indices


def checked_queries(gallery: Gallery, queries: np.ndarray) -> np.ndarray:
    """Return queries as contiguous float32 (N, E); raises ModelError when they cannot be compared with the gallery.

    A query of zeros has the same cosine with every place, and would be answered with the first of them.
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    if queries.ndim != 2 or queries.shape[1] != gallery.width:
        raise ModelError(f"{gallery.path}: has embeddings of width {gallery.width}, the queries are {queries.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.linalg.norm(queries, axis=1)
    odd = np.flatnonzero(~((length >= SHORTEST_QUERY) & (length <= LONGEST_QUERY)))  # also true for NaN
    if odd.size:
        raise ModelError(
            f"the embedding of frame {odd[0]} of {len(queries)} searched together has the length {length[odd[0]]:g}: "
            "it points nowhere; check the model with 'vidtag models verify', or try another precision or device"
        )
    return queries


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


def float32_rows(gallery: Gallery, start: int, stop: int) -> np.ndarray:
    """Return (stop - start, E) float32 rows of the embeddings; do not change them, they may be the kept ones.

    Raises ModelError that names the first row that is no unit vector: NaN in one row would make every posterior
    certain. A row is checked when it is first read as float32, which costs an eighth of that conversion; a check when
    the gallery is opened would cost two thirds more than hashing it.
    """
    rows, width = gallery.embeddings.shape
    if rows * width * 4 > RESIDENT_BYTES:
        return _checked_rows(gallery, start, gallery.embeddings[start:stop].astype(np.float32))
    kept = _resident.get(gallery)
    if kept is None:
        kept = _resident[gallery] = _checked_rows(gallery, 0, gallery.embeddings.astype(np.float32))
    return kept[start:stop]


def _checked_rows(gallery: Gallery, start: int, rows: np.ndarray) -> np.ndarray:
    """Return rows of a gallery as they are; raises ModelError when one of them is no unit vector."""
    is_checked = _is_checked.setdefault(gallery, np.zeros(len(gallery.embeddings), dtype=bool))
    if not is_checked[start : start + len(rows)].all():
        odd = first_odd_row(rows)
        if odd is not None:
            row, length = odd
            raise ModelError(
                f"{gallery.path / EMBEDDINGS_FILE}: row {start + row} has the length {length:g}, but embeddings are "
                "unit vectors: build the gallery again"
            )
        is_checked[start : start + len(rows)] = True
    return rows


def block_rows(gallery: Gallery) -> int:
    """Return how many rows a block holds."""
    return max(1, BLOCK_BYTES // (4 * gallery.width))


def score_blocks(gallery: Gallery, queries: np.ndarray, rows: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index of the first point, scores (N, n) float32) for consecutive points of the whole gallery.

    The score of a point near the antimeridian is the better of its two longitudes. ``queries`` is (N, E) float32.
    Blocks hold at most ``rows`` points; the default keeps both a block and its scores below about ``BLOCK_BYTES``.
    """
    step = rows or min(block_rows(gallery), max(1024, BLOCK_BYTES // (4 * max(1, len(queries)))))
    for start in range(0, gallery.points, step):
        stop = min(start + step, gallery.points)
        scores = _products(queries, float32_rows(gallery, start, stop))  # (N, n)
        first, last = np.searchsorted(gallery.alias_of, [start, stop])
        if last > first:
            columns = gallery.alias_of[first:last] - start
            alias_scores = _products(queries, float32_rows(gallery, gallery.points + first, gallery.points + last))
            scores[:, columns] = np.maximum(scores[:, columns], alias_scores)
        yield start, scores


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
    nearest = np.searchsorted(gallery.alias_of, points).clip(max=gallery.alias_of.size - 1)
    return np.concatenate([points, gallery.points + nearest[gallery.alias_of[nearest] == points]])


def point_of_row(gallery: Gallery, rows: np.ndarray) -> np.ndarray:
    """Return the index of the point that each row of the embeddings belongs to."""
    if gallery.alias_of.size == 0:
        return rows
    aliases = gallery.alias_of[(rows - gallery.points).clip(min=0)]
    return np.where(rows < gallery.points, rows, aliases)


@lru_cache(maxsize=1)
def import_faiss() -> ModuleType:
    """Return the faiss module with its matrix multiplication set for wide embeddings.

    FAISS multiplies matrices only from queries x width >= 128,000 on, and then in blocks of 1,024 vectors, which
    wastes five sixths of a core at 64 queries of width 512. Both numbers are global to the process and set here alone.
    A handful of queries keeps FAISS's own loop, which is faster for them.
    """
    import faiss

    faiss.cvar.distance_compute_blas_threshold = BLAS_FROM_PRODUCT
    faiss.cvar.distance_compute_blas_database_bs = BLAS_BLOCK_ROWS
    return faiss


def _fetch_rows(gallery: Gallery, queries: np.ndarray, fetch: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``fetch`` best rows of the embeddings (N, fetch), unordered, and the lowest of their scores (N,)."""
    faiss = import_faiss()
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


def _products(queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return (N, n) scores. The gallery stands first in the product: for 8 queries BLAS is then faster by a third.

    A single query goes twice: for a matrix and a vector BLAS has another way, whose sums depend on its threads.
    """
    if len(queries) == 1:
        return _products(queries.repeat(2, axis=0), rows)[:1]
    return np.ascontiguousarray((rows @ queries.T).T)


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
