"""The default gallery of the flyover model: every place where one of its flights can be."""

from __future__ import annotations

import numpy as np

from training.config import FlightConfig
from training.flyover.flights import near_land
from vidtag_cli.geo.grid import equal_area_grid

SPACING_KM = 25.0


def flyover_gallery(config: FlightConfig, spacing_km: float = SPACING_KM) -> np.ndarray:
    """Return places (G, 2): an even grid over the land and its coast between the latitudes of the flights."""
    south, north = config.latitude_deg
    grid = equal_area_grid(spacing_km, south_deg=south, north_deg=north)
    return grid[near_land(grid, config.coast_km) | near_land(grid, config.coast_km / 2.0)]
