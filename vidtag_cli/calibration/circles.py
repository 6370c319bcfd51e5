"""Circles around estimates: conformal radii by a number that rises with doubt, and how often they hold
(docs/method.md 3.5).
"""

from __future__ import annotations

import numpy as np

from vidtag_cli.evaluation.clustered_share import estimate_share

TableNames = tuple[str, str, str]
"""The names of a table's edges, of its 50 % radii and of its 95 % radii."""

CLIPS_PER_BIN = 20
"""A 95 % quantile needs 19 clips beside the one that may be worse than all of them."""

_ROUNDING = 1e-12


def radius_tables(
    names: TableNames, doubt: np.ndarray, errors_km: np.ndarray, clip: np.ndarray, is_kept: np.ndarray, bins: int,
    clips_per_bin: int = CLIPS_PER_BIN,
) -> dict[str, list[float]]:  # fmt: skip
    """Return edges of the doubt (N,) of frames, and the conformal quantiles, by ``clip`` (N,), of the errors in each
    bin.

    All frames are used where those that are kept come from too few clips. A bin with too few clips is joined with a
    neighbour, and so are bins whose 95 % radii fall although the doubt rises: more doubt must not promise more.
    """
    is_used = is_kept if len(np.unique(clip[is_kept])) >= clips_per_bin else np.ones_like(is_kept)
    doubt, errors_km, clip = doubt[is_used], errors_km[is_used], clip[is_used]
    edges = np.unique(np.quantile(doubt, np.arange(1, bins) / bins))
    while (number := _bin_to_join(edges, doubt, errors_km, clip, clips_per_bin)) is not None:
        edges = np.delete(edges, number)
    parts = _bin_rows(edges, doubt)
    radii = ([clip_quantile(errors_km[rows], clip[rows], share) for rows in parts] for share in (0.5, 0.95))
    return dict(zip(names, ([float(edge) for edge in edges], *radii), strict=True))


def _bin_rows(edges: np.ndarray, doubt: np.ndarray) -> list[np.ndarray]:
    bin_of = np.searchsorted(edges, doubt, side="right")
    return [np.flatnonzero(bin_of == number) for number in range(len(edges) + 1)]


def _bin_to_join(
    edges: np.ndarray, doubt: np.ndarray, errors_km: np.ndarray, clip: np.ndarray, clips_per_bin: int
) -> int | None:
    """Return the edge between two bins that must become one, or None."""
    if not len(edges):
        return None
    parts = _bin_rows(edges, doubt)
    for number, rows in enumerate(parts):
        if len(np.unique(clip[rows])) < clips_per_bin:
            return min(number, len(edges) - 1)
    fallen = np.flatnonzero(np.diff([clip_quantile(errors_km[rows], clip[rows], 0.95) for rows in parts]) < 0.0)
    return int(fallen[0]) if fallen.size else None


def clip_quantile(scores: np.ndarray, clip: np.ndarray, share: float) -> float:
    """Return the smallest score (N,) that a frame of one more clip stays below with at least this probability.

    Clips are exchangeable and frames of one are not independent, so each of C clips has the weight 1 / (C + 1), shared
    by its frames, and the rest stands for a clip that is worse than all (Dunn, Wasserman and Ramdas 2023; Lee, Barber
    and Willett 2023). With too few clips for a guarantee it is the largest score.
    """
    _, clip_of_score, counts = np.unique(clip, return_inverse=True, return_counts=True)
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(1.0 / counts[clip_of_score[order]]) / (len(counts) + 1)
    first = int(np.searchsorted(reached, share - _ROUNDING))
    return float(scores[order[min(first, len(order) - 1)]])


def measure_circles(
    names: TableNames, tables: dict[str, list[float]], doubt: np.ndarray, errors_km: np.ndarray, clip: np.ndarray,
    is_kept: np.ndarray, max_radius95_km: float,
) -> dict[str, float]:  # fmt: skip
    """Return shares and errors of frames (N,) that took no part in the fit; without a located frame only that.

    Located is what is kept and has a 95 % circle no wider than the limit. ``coverage95_low`` and ``coverage95_high``
    are the ends of an interval by ``clip`` (N,).
    """
    edges, radius50_km, radius95_km = (np.array(tables[name]) for name in names)
    bin_of = np.searchsorted(edges, doubt, side="right")
    is_located = is_kept & (radius95_km[bin_of] <= max_radius95_km)
    counted = {"located_share": float(is_located.mean())}
    if not is_located.any():
        return counted
    errors_km, bin_of, clip = errors_km[is_located], bin_of[is_located], clip[is_located]
    is_inside = errors_km <= radius95_km[bin_of]
    coverage95 = estimate_share(np.bincount(clip, is_inside), np.bincount(clip))
    return counted | {
        "located_clips": float(len(np.unique(clip))),
        "coverage50": float((errors_km <= radius50_km[bin_of]).mean()),
        "coverage95": coverage95.value,
        "coverage95_low": coverage95.low,
        "coverage95_high": coverage95.high,
        "median_error_located_km": float(np.median(errors_km)),
        "share_within_100_km_located": float((errors_km <= 100.0).mean()),
        "median_radius95_located_km": float(np.median(radius95_km[bin_of])),
    }
