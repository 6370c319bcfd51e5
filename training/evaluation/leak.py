"""Does a gallery hold the positions it is asked for? Then finding them is no feat (paper section 4.2, appendix D.2).

A point within a metre of a query is not a copy by itself: on a grid of 100 m, fifty of 160,000 queries lie that near
to a point by chance. What gives a copied gallery away is that far more of the points in the queries' neighbourhood
lie almost on a query than chance would put there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidtag_cli.errors import UsageError
from vidtag_cli.geo.sphere import EARTH_RADIUS_KM, unit_vector

NEAR_M = 1.0
"""A copy rounded to float32 is off by up to 0.85 m."""

COPY_M = 0.02
"""A copy in float64, or with the seven decimals of most files, is off by no more than this."""

NEIGHBOURHOOD_M = 50.0
CHANCE = 1e-3
"""Counts less probable than this by chance are a leak."""

_BLOCK = 1_000_000


@dataclass(frozen=True, slots=True)
class LeakCheck:
    """How a gallery meets the queries: ``near_queries`` of ``queries`` have a gallery point within a metre.

    ``leaks`` says that this is more than chance puts there.
    """

    queries: int
    near_queries: int
    gallery_points: int
    near_points: int
    copied_points: int
    leaks: bool

    def in_words(self) -> str:
        """Return the finding as one sentence."""
        share = 100.0 * self.near_queries / max(1, self.queries)
        statement = f"{self.near_queries} of {self.queries} queries ({share:.2g} %) have a gallery point within a metre"
        if self.leaks:
            return f"the gallery holds query coordinates: {statement}, {self.copied_points} points within 2 cm"
        return f"{statement}, no more than chance explains"


def check_leak(gallery_latlon_deg: np.ndarray, query_latlon_deg: np.ndarray) -> LeakCheck:
    """Return how many of the (N, 2) queries a gallery (G, 2) holds; rows of NaN among the queries do not count.

    The gallery is read in blocks and may be memory-mapped. Of the points within 50 m of a query, chance puts at most
    the share r / 50 m within r of it: that is the share beside a straight row of queries, and around a lone query it
    is smaller. The binomial tail of that share decides.
    """
    from scipy.spatial import cKDTree
    from scipy.stats import binom

    queries = query_latlon_deg[~np.isnan(query_latlon_deg[:, 0])]
    tree = cKDTree(unit_vector(queries))
    distances_m = [np.zeros(0)]
    near_points = [np.zeros((0, 3))]
    for begin in range(0, len(gallery_latlon_deg), _BLOCK):
        points = unit_vector(np.asarray(gallery_latlon_deg[begin : begin + _BLOCK], dtype=np.float64))
        chord, _ = tree.query(points, distance_upper_bound=_chord(NEIGHBOURHOOD_M))
        inside = np.isfinite(chord)
        distances_m.append(chord[inside] * EARTH_RADIUS_KM * 1000.0)
        near_points.append(points[inside & (chord <= _chord(NEAR_M))])
    around_m, near = np.concatenate(distances_m), np.concatenate(near_points)
    counts = {reach_m: int(np.sum(around_m <= reach_m)) for reach_m in (COPY_M, NEAR_M)}
    leaks = any(
        count > 0 and binom.sf(count - 1, len(around_m), reach_m / NEIGHBOURHOOD_M) < CHANCE
        for reach_m, count in counts.items()
    )
    near_queries = 0
    if len(near):
        chord, _ = cKDTree(near).query(tree.data, distance_upper_bound=_chord(NEAR_M))
        near_queries = int(np.isfinite(chord).sum())
    return LeakCheck(len(queries), near_queries, len(gallery_latlon_deg), counts[NEAR_M], counts[COPY_M], bool(leaks))


def refuse_leak(check: LeakCheck, allow: bool, gallery: str) -> None:
    """Raise UsageError when a gallery holds query coordinates and nobody asked for that."""
    if check.leaks and not allow:
        raise UsageError(
            f"gallery {gallery}: {check.in_words()}. Build it from training positions or a grid, or allow the leak "
            "explicitly (allow_leak, --allow-leak): then every table and figure says so"
        )


def _chord(distance_m: float) -> float:
    # The chord of a unit sphere; below a kilometre it equals the arc to a part in ten million.
    return distance_m / (EARTH_RADIUS_KM * 1000.0)
