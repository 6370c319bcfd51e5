"""How much of the Earth a gallery point stands for when nobody said so."""

from __future__ import annotations

import numpy as np

from vidtag_cli.geo.grid import KM_PER_DEGREE
from vidtag_cli.geo.nearest import nearest_neighbour

SHARED_CELL_KM = 5.0
"""Points nearer than about this share one cell: a dense street must not outweigh the rest of the city."""

REGULAR_SPREAD = 1.25
"""Within a grid the distance to the nearest point hardly varies: its 90th percentile is at most this times its 10th."""

SPACING_SAMPLES = 500


def regular_spacing_km(latlon_deg: np.ndarray) -> float | None:
    """Return the spacing of points (G, 2) that form an even grid, judged by a sample; None for irregular points."""
    step = max(2, len(latlon_deg) // SPACING_SAMPLES)
    is_sample = np.arange(len(latlon_deg)) % step == 0
    if is_sample.all() or not is_sample.any() or len(latlon_deg) < 3:
        return None
    distance_km, _ = nearest_neighbour(latlon_deg[is_sample], latlon_deg[~is_sample])
    low_km, middle_km, high_km = np.quantile(distance_km, [0.1, 0.5, 0.9])
    return float(middle_km) if high_km <= low_km * REGULAR_SPREAD else None


def shared_cell_area_km2(latlon_deg: np.ndarray, cell_km: float = SHARED_CELL_KM) -> np.ndarray:
    """Return (G,) float64 areas: the sphere in cells of ``cell_km`` squared, each shared equally by the points in it.

    The areas add up to the area of the occupied cells, so a posterior weighted by them does not grow where points are
    dense.
    """
    rows = np.floor((latlon_deg[:, 0] + 90.0) * KM_PER_DEGREE / cell_km).astype(np.int64)
    row_middle_deg = (rows + 0.5) * cell_km / KM_PER_DEGREE - 90.0
    row_length_km = 360.0 * KM_PER_DEGREE * np.maximum(np.cos(np.deg2rad(row_middle_deg.clip(-90.0, 90.0))), 0.0)
    cells_in_row = np.maximum(1, np.round(row_length_km / cell_km)).astype(np.int64)
    columns = np.floor((latlon_deg[:, 1] + 180.0) / 360.0 * cells_in_row).astype(np.int64) % cells_in_row
    _, cell, count = np.unique(rows * (1 << 32) + columns, return_inverse=True, return_counts=True)
    return cell_km**2 / count[cell]
