"""A gallery's embeddings as float32, block by block, so that memory stays bounded whatever its size."""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakKeyDictionary

import numpy as np

from vidtag_cli.gallery.store import Gallery

BLOCK_BYTES = 128 * 1024 * 1024
"""Size of a float32 block that is converted on the way: 65,536 rows of width 512."""

RESIDENT_BYTES = 1024 * 1024 * 1024
"""A gallery whose float32 form fits in this is converted once and kept: half a million points of width 512."""

_resident: WeakKeyDictionary[Gallery, np.ndarray] = WeakKeyDictionary()


def float32_rows(gallery: Gallery, start: int, stop: int) -> np.ndarray:
    """Return (stop - start, E) float32 rows of the embeddings; do not change them, they may be the kept ones."""
    rows, width = gallery.embeddings.shape
    if rows * width * 4 > RESIDENT_BYTES:
        return gallery.embeddings[start:stop].astype(np.float32)
    kept = _resident.get(gallery)
    if kept is None:
        kept = _resident[gallery] = gallery.embeddings.astype(np.float32)
    return kept[start:stop]


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


def _products(queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return (N, n) scores. The gallery stands first in the product: for 8 queries BLAS is then faster by a third."""
    return np.ascontiguousarray((rows @ queries.T).T)
