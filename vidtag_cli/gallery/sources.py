"""Where the points of a gallery come from: the land of the Earth, a box, a country; for files see ``point_files``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from vidtag_cli.errors import UsageError
from vidtag_cli.geo.antimeridian import bounding_box
from vidtag_cli.geo.grid import KM_PER_DEGREE, equal_area_grid_blocks
from vidtag_cli.geo.land import CELL_DEG, country_cells, country_index, country_names, find_country, is_land
from vidtag_cli.geo.nearest import nearest_neighbour

LAND_SOUTH_DEG, LAND_NORTH_DEG = -60.0, 84.0
"""Land without Antarctica: next to no video is made there, and its 14 million km2 would fill a tenth of the gallery."""

MOST_POINTS = 200_000_000
"""More than any disk here holds embeddings for; a slip in the unit of the spacing is likelier than the wish."""


@dataclass(frozen=True, slots=True)
class PointSource:
    """Points for a gallery: (G, 2) float64, the source in words, and for grids the spacing and the area of a cell.

    ``warnings`` says what was left out of a file.
    """

    latlon_deg: np.ndarray
    description: str
    spacing_km: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def cell_area_km2(self) -> float | None:
        """The area a grid point stands for; None for irregular points."""
        return None if self.spacing_km is None else self.spacing_km**2


def land_points(spacing_km: float, south_deg: float = LAND_SOUTH_DEG, north_deg: float = LAND_NORTH_DEG) -> PointSource:
    """Return a grid over all land between two latitudes; raises UsageError when it has no point."""
    description = f"land of the whole Earth from latitude {south_deg:g} to {north_deg:g}, every {spacing_km:g} km"
    blocks = _grid_blocks(spacing_km, south_deg, -180.0, north_deg, 180.0)
    return _source((block[is_land(block)] for block in blocks), description, spacing_km)


def box_points(
    spacing_km: float, south_deg: float, west_deg: float, north_deg: float, east_deg: float, land_only: bool = False
) -> PointSource:
    """Return a grid over a box, across the antimeridian when ``west_deg`` is greater than ``east_deg``."""
    box = f"box from {south_deg:g}, {west_deg:g} to {north_deg:g}, {east_deg:g} (lat, lon)"
    description = f"{'land in the ' if land_only else ''}{box}, every {spacing_km:g} km"
    blocks = _grid_blocks(spacing_km, south_deg, west_deg, north_deg, east_deg)
    return _source((block[is_land(block)] if land_only else block for block in blocks), description, spacing_km)


def country_points(spacing_km: float, name: str, padding_km: float = 0.0) -> PointSource:
    """Return a grid over a country and, with ``padding_km``, over all that lies within that distance of it, sea
    included.

    A country too small for the grid gives one point, the middle one of its raster cells. Raises UsageError for an
    unknown name.
    """
    index = find_country(name)
    cells = country_cells(index)
    padding = f" and {padding_km:g} km around it" if padding_km else ""
    description = f"{country_names()[index]}{padding}, every {spacing_km:g} km"
    rim = _rim_cells(cells, index) if padding_km else cells[:0]
    blocks = []
    for block in _grid_blocks(spacing_km, *_padded_box(cells, padding_km)):
        is_inside = country_index(block) == index
        if padding_km:
            outside = np.flatnonzero(~is_inside)
            is_inside[outside] = nearest_neighbour(block[outside], rim)[0] <= padding_km
        blocks.append(block[is_inside])
    if not any(len(block) for block in blocks):
        blocks = [cells[len(cells) // 2][None]]
    return _source(blocks, description, spacing_km)


def _source(blocks: Iterable[np.ndarray], description: str, spacing_km: float) -> PointSource:
    latlon_deg = np.concatenate(list(blocks))
    if len(latlon_deg) == 0:
        raise UsageError(f"{description}: no grid point lies there; choose a smaller spacing or another area")
    return PointSource(latlon_deg, description, spacing_km)


def _grid_blocks(
    spacing_km: float, south_deg: float, west_deg: float, north_deg: float, east_deg: float
) -> Iterator[np.ndarray]:
    try:
        blocks = equal_area_grid_blocks(spacing_km, south_deg, west_deg, north_deg, east_deg)
        total = 0
        for block in blocks:
            total += len(block)
            if total > MOST_POINTS:
                raise UsageError(f"every {spacing_km:g} km makes over {MOST_POINTS:,} points: choose a larger spacing")
            yield block
    except ValueError as error:
        raise UsageError(f"no grid: {error}") from error


def _padded_box(cells: np.ndarray, padding_km: float) -> tuple[float, float, float, float]:
    """Return south, west, north, east of a box that holds the cells and everything within the padding."""
    west, south, east, north = bounding_box(cells)
    reach_deg = padding_km / KM_PER_DEGREE + CELL_DEG / 2.0
    south, north = max(-90.0, south - reach_deg), min(90.0, north + reach_deg)
    # The farthest a circle of this radius reaches in longitude, at the edge of the box nearer to a pole.
    cosine = np.cos(np.deg2rad(min(89.9, max(abs(south), abs(north)))))
    reach_lon_deg = padding_km / KM_PER_DEGREE / cosine + CELL_DEG / 2.0
    if (east - west) % 360.0 + 2.0 * reach_lon_deg >= 360.0 or max(abs(south), abs(north)) > 89.9:
        return south, -180.0, north, 180.0
    west, east = ((lon + 180.0) % 360.0 - 180.0 for lon in (west - reach_lon_deg, east + reach_lon_deg))
    return south, west, north, 180.0 if east == -180.0 else east


def _rim_cells(cells: np.ndarray, index: int) -> np.ndarray:
    """Return the cells of a country that have a neighbour outside it, which are enough to measure distances from it."""
    steps = np.array([[CELL_DEG, 0.0], [-CELL_DEG, 0.0], [0.0, CELL_DEG], [0.0, -CELL_DEG]])
    neighbours = cells[:, None, :] + steps
    neighbours[..., 0] = neighbours[..., 0].clip(-90.0, 90.0)
    return cells[(country_index(neighbours) != index).any(axis=1)]
