"""Grids of points that cover the sphere evenly: equal steps in metres at every latitude."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from vidtag_cli.geo.sphere import EARTH_RADIUS_KM, wrap_longitude_deg

MAX_POINTS = 1_000_000_000
"""Of a grid: their coordinates alone take 16 GB. More of them are a slip of the spacing, and would take for ever."""

KM_PER_DEGREE = math.radians(1.0) * EARTH_RADIUS_KM


def equal_area_grid(
    spacing_km: float,
    south_deg: float = -90.0,
    west_deg: float = -180.0,
    north_deg: float = 90.0,
    east_deg: float = 180.0,
) -> np.ndarray:
    """Return (G, 2) float64 positions, each the centre of a cell of at most ``spacing_km`` squared; south to north,
    west to east.

    Rows are equally spaced in latitude; a row holds as many points as its own length needs, so the grid neither
    bunches at the poles nor repeats a point. ``west_deg`` greater than ``east_deg`` means a box across the
    antimeridian. Raises ValueError for a box or spacing that makes no grid, or one of more than ``MAX_POINTS``.
    """
    return np.concatenate(list(equal_area_grid_blocks(spacing_km, south_deg, west_deg, north_deg, east_deg)))


def equal_area_grid_blocks(
    spacing_km: float,
    south_deg: float = -90.0,
    west_deg: float = -180.0,
    north_deg: float = 90.0,
    east_deg: float = 180.0,
    block: int = 1_000_000,
) -> Iterator[np.ndarray]:
    """Yield ``equal_area_grid`` in whole rows of about ``block`` points, for grids too large to hold before a
    filter.
    """
    width_deg = _checked_width_deg(spacing_km, south_deg, west_deg, north_deg, east_deg)
    points = box_area_km2(south_deg, west_deg, north_deg, east_deg) / spacing_km**2
    if points > MAX_POINTS:
        raise ValueError(
            f"a spacing of {spacing_km:g} km would give {points:.1g} points, and {MAX_POINTS:.0e} is the limit"
        )
    rows = max(1, math.ceil((north_deg - south_deg) * KM_PER_DEGREE / spacing_km - 1e-9))
    row_lat_deg = south_deg + (np.arange(rows) + 0.5) * ((north_deg - south_deg) / rows)
    row_length_km = width_deg * KM_PER_DEGREE * np.cos(np.deg2rad(row_lat_deg))
    counts = np.maximum(1, np.ceil(row_length_km / spacing_km - 1e-9)).astype(np.int64)
    block_of_row = (np.cumsum(counts) - 1) // block
    for rows_of_block in np.split(np.arange(rows), np.flatnonzero(np.diff(block_of_row)) + 1):
        yield _grid_rows(row_lat_deg[rows_of_block], counts[rows_of_block], west_deg, width_deg)


def box_area_km2(south_deg: float, west_deg: float, north_deg: float, east_deg: float) -> float:
    """Return the area of a latitude-longitude box on the sphere; ``west_deg`` greater than ``east_deg`` crosses 180."""
    width_deg = _checked_width_deg(1.0, south_deg, west_deg, north_deg, east_deg)
    height = math.sin(math.radians(north_deg)) - math.sin(math.radians(south_deg))
    return EARTH_RADIUS_KM**2 * math.radians(width_deg) * height


def _grid_rows(row_lat_deg: np.ndarray, counts: np.ndarray, west_deg: float, width_deg: float) -> np.ndarray:
    first = np.repeat(np.cumsum(counts) - counts, counts)
    step_deg = np.repeat(width_deg / counts, counts)
    lon_deg = west_deg + (np.arange(counts.sum()) - first + 0.5) * step_deg
    return np.stack([np.repeat(row_lat_deg, counts), wrap_longitude_deg(lon_deg)], axis=-1)


def _checked_width_deg(
    spacing_km: float, south_deg: float, west_deg: float, north_deg: float, east_deg: float
) -> float:
    if not (math.isfinite(spacing_km) and spacing_km > 0.0):
        raise ValueError(f"spacing {spacing_km} km is not a positive number")
    if not -90.0 <= south_deg < north_deg <= 90.0:
        raise ValueError(f"latitudes {south_deg} to {north_deg} do not rise from south to north within [-90, 90]")
    if not (-180.0 <= west_deg <= 180.0 and -180.0 <= east_deg <= 180.0):
        raise ValueError(f"longitudes {west_deg} to {east_deg} are not within [-180, 180]")
    width_deg = east_deg - west_deg if east_deg > west_deg else east_deg - west_deg + 360.0
    if west_deg == east_deg or width_deg == 0.0:
        raise ValueError(f"longitudes {west_deg} to {east_deg} enclose nothing")
    return width_deg
