"""Circles around estimates: conformal radii by a number that rises with doubt, and how often they hold
(docs/method.md 3.5).
"""

from __future__ import annotations

import math

import numpy as np

TableNames = tuple[str, str, str]
"""The names of a table's edges, of its 50 % radii and of its 95 % radii."""


def radius_tables(
    names: TableNames, doubt: np.ndarray, errors_km: np.ndarray, is_kept: np.ndarray, bins: int
) -> dict[str, list[float]]:
    """Return edges of the doubt (N,) of frames, and the conformal quantiles of the errors in each bin.

    All frames are taken where none is kept. Equal edges, which would leave a bin without frames, are one edge, and bins
    whose 95 % radii fall although the doubt rises are one bin: more doubt must not promise more.
    """
    is_used = is_kept if is_kept.any() else np.ones_like(is_kept)
    doubt, errors_km = doubt[is_used], errors_km[is_used]
    edges = np.unique(np.quantile(doubt, np.arange(1, bins) / bins))
    bin_of = np.searchsorted(edges, doubt, side="right")
    filled = [errors_km[bin_of == number] for number in range(len(edges) + 1)]
    if not all(len(part) for part in filled):
        edges, filled = np.zeros(0), [errors_km]
    while (fallen := np.flatnonzero(np.diff([conformal_quantile(part, 0.95) for part in filled]) < 0.0)).size:
        first = int(fallen[0])
        filled[first : first + 2] = [np.concatenate(filled[first : first + 2])]
        edges = np.delete(edges, first)
    radii = ([conformal_quantile(part, share) for part in filled] for share in (0.5, 0.95))
    return dict(zip(names, ([float(edge) for edge in edges], *radii), strict=True))


def conformal_quantile(scores: np.ndarray, share: float) -> float:
    """Return the split-conformal quantile of nonconformity scores: the smallest with a guarantee for one more."""
    rank = min(scores.size, math.ceil((scores.size + 1) * share))
    return float(np.sort(scores)[rank - 1])


def measure_circles(
    names: TableNames, tables: dict[str, list[float]], doubt: np.ndarray, errors_km: np.ndarray, is_kept: np.ndarray,
    max_radius95_km: float,
) -> dict[str, float]:  # fmt: skip
    """Return shares and errors (N,) of frames that took no part in the fit; without a located frame only that.

    Located is what is kept and has a 95 % circle no wider than the limit.
    """
    edges, radius50_km, radius95_km = (np.array(tables[name]) for name in names)
    bin_of = np.searchsorted(edges, doubt, side="right")
    is_located = is_kept & (radius95_km[bin_of] <= max_radius95_km)
    counted = {"located_share": float(is_located.mean())}
    if not is_located.any():
        return counted
    errors_km, bin_of = errors_km[is_located], bin_of[is_located]
    return counted | {
        "coverage50": float((errors_km <= radius50_km[bin_of]).mean()),
        "coverage95": float((errors_km <= radius95_km[bin_of]).mean()),
        "median_error_located_km": float(np.median(errors_km)),
        "share_within_100_km_located": float((errors_km <= 100.0).mean()),
        "median_radius95_located_km": float(np.median(radius95_km[bin_of])),
    }
