"""The gallery that a model starts its life with: an even grid over the regions it was trained in (appendix D.1)."""

from __future__ import annotations

import numpy as np

from vidtag_cli.gallery.sources import box_points
from vidtag_cli.geo.antimeridian import bounding_box
from vidtag_cli.geo.grid import KM_PER_DEGREE
from vidtag_cli.geo.sphere import haversine_km, wrap_longitude_deg

REGION_KM = 50.0
"""Positions this near to one another are one region: a city with its outskirts."""


def reference_gallery(latlon_deg: np.ndarray, spacing_km: float, padding_km: float) -> np.ndarray:
    """Return places (G, 2): a grid of ``spacing_km`` over the padded box of each region of training positions (N, 2).

    A region of a single place, as where a data set knows only its cities' centres, gives that place itself.
    """
    grids = []
    for region in regions(np.unique(latlon_deg, axis=0)):
        grids.append(region if len(region) == 1 else _box_grid(region, spacing_km, padding_km))
    return np.concatenate(grids)


def regions(latlon_deg: np.ndarray, radius_km: float = REGION_KM) -> list[np.ndarray]:
    """Return the positions (N, 2) parted into groups, each within ``radius_km`` of its first member."""
    left, parts = latlon_deg, []
    while len(left):
        near = np.asarray(haversine_km(left, left[0])) <= radius_km
        parts.append(left[near])
        left = left[~near]
    return parts


def _box_grid(region: np.ndarray, spacing_km: float, padding_km: float) -> np.ndarray:
    south, west, north, east = _south_west_north_east(region)
    pad_lat = padding_km / KM_PER_DEGREE
    widest = max(abs(south - pad_lat), abs(north + pad_lat))
    pad_lon = min(pad_lat / max(np.cos(np.radians(min(widest, 89.0))), 1e-3), 90.0)
    west, east = (float(wrap_longitude_deg(np.array(lon))) for lon in (west - pad_lon, east + pad_lon))
    return box_points(spacing_km, max(south - pad_lat, -90.0), west, min(north + pad_lat, 90.0), east).latlon_deg


def _south_west_north_east(region: np.ndarray) -> tuple[float, float, float, float]:
    west, south, east, north = bounding_box(region)
    return south, west, north, east
