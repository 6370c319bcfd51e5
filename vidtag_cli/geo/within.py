"""Which places lie near any of others: on the sphere, by cells as large as what counts as near."""

from __future__ import annotations

from itertools import product

import numpy as np

from vidtag_cli.geo.sphere import EARTH_RADIUS_KM, unit_vector

_CELLS_A_SIDE = 1 << 20
"""More than the Earth's diameter has cells of 20 m: three such numbers fit in 63 bits."""

_LEAST_REACH_KM = 0.02


def is_within(latlon_deg: np.ndarray, among_latlon_deg: np.ndarray, reach_km: float) -> np.ndarray:
    """Return (N,) bool: for positions (N, 2), whether any of (M, 2) positions is at most ``reach_km`` away.

    Reaches below 20 m count as 20 m.
    """
    half_angle = max(reach_km, _LEAST_REACH_KM) / EARTH_RADIUS_KM / 2.0
    reach = 2.0 * np.sin(min(half_angle, np.pi / 2.0))  # of a straight line, in radii of the Earth
    here, there = unit_vector(latlon_deg), unit_vector(among_latlon_deg)
    keys = _cell_keys(there, reach)
    order = np.argsort(keys, kind="stable")
    keys, there = keys[order], there[order]
    near = np.zeros(len(here), bool)
    for offset in product((-1, 0, 1), repeat=3):
        open_rows = np.flatnonzero(~near)
        wanted = _cell_keys(here[open_rows], reach, np.array(offset))
        begin, end = np.searchsorted(keys, wanted, "left"), np.searchsorted(keys, wanted, "right")
        while True:
            has_more = begin < end
            open_rows, begin, end = open_rows[has_more], begin[has_more], end[has_more]
            if open_rows.size == 0:
                break
            chord2 = ((here[open_rows] - there[begin]) ** 2).sum(axis=1)
            near[open_rows] = is_near = chord2 <= reach**2
            begin = np.where(is_near, end, begin + 1)
    return near


def _cell_keys(vectors: np.ndarray, side: float, offset: np.ndarray | int = 0) -> np.ndarray:
    cells = np.floor(vectors / side).astype(np.int64) + offset + _CELLS_A_SIDE // 2
    return (cells[:, 0] * _CELLS_A_SIDE + cells[:, 1]) * _CELLS_A_SIDE + cells[:, 2]
