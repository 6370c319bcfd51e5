"""The continent of a position: its country in the raster of ``land`` under the continents of the United Nations."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

from vidtag_cli.geo.land import CELL_DEG, SEA, country_index, country_names
from vidtag_cli.geo.sphere import haversine_km, wrap_longitude_deg

OPEN_SEA = "open sea"
"""What a position is on that has no land within ``COAST_DEG``."""

COAST_DEG = 3.2
"""How far from land, in degrees of a great circle, a position still belongs to it: bridges, piers, coastal flights."""

_FIRST_REACH_DEG = 4 * CELL_DEG


def continents_of(latlon_deg: np.ndarray) -> np.ndarray:
    """Return the (N,) names of the continents of (N, 2) positions; at sea that of the nearest land, or ``OPEN_SEA``.

    Islands count to the continent of their region, the parts of Russia and of other countries that lie on another
    continent to that one (``data/natural_earth/continents.json``).
    """
    positions = np.asarray(latlon_deg, dtype=np.float64)
    ashore = positions.copy()
    countries = country_index(positions)
    for row in np.flatnonzero(countries == SEA):
        nearest = _nearest_land(positions[row])
        if nearest is not None:
            ashore[row], countries[row] = nearest, country_index(nearest[None])[0]
    names, continent_of_country = _continents()
    continents = continent_of_country[countries]
    for country, continent, (south, west, north, east) in _parts():
        lat, lon = ashore[:, 0], wrap_longitude_deg(ashore[:, 1])
        lon_inside = (lon >= west) & (lon <= east) if west <= east else (lon >= west) | (lon <= east)
        continents[(countries == country) & (lat >= south) & (lat <= north) & lon_inside] = continent
    return np.asarray(names)[continents]


def _nearest_land(latlon_deg: np.ndarray) -> np.ndarray | None:
    """Return the (2,) centre of the nearest land cell, looked for in windows of growing reach."""
    reach_deg = _FIRST_REACH_DEG
    while reach_deg <= COAST_DEG:
        cells = _cells_around(latlon_deg, reach_deg)
        cells = cells[country_index(cells) != SEA]
        if len(cells):
            return cells[int(np.argmin(haversine_km(latlon_deg, cells)))]
        reach_deg *= 2.0
    return None


def _cells_around(latlon_deg: np.ndarray, reach_deg: float) -> np.ndarray:
    """Return (N, 2) positions a cell apart within about ``reach_deg`` of a position in every direction."""
    steps = np.arange(-reach_deg, reach_deg + CELL_DEG / 2.0, CELL_DEG)
    lat_deg = np.clip(latlon_deg[0] + steps, -90.0, 90.0)
    # A degree of longitude shortens with latitude; beyond 80 degrees the window goes round no more than a sixth.
    lon_steps = steps / max(float(np.cos(np.deg2rad(latlon_deg[0]))), 0.1)
    lat, lon = np.meshgrid(lat_deg, wrap_longitude_deg(latlon_deg[1] + lon_steps), indexing="ij")
    return np.stack([lat.ravel(), lon.ravel()], axis=-1)


@lru_cache(maxsize=1)
def _document() -> dict[str, Any]:
    text = (files("vidtag_cli") / "data" / "natural_earth" / "continents.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


@lru_cache(maxsize=1)
def _continents() -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of the continents, the open sea first, and the place of each country's continent in them."""
    countries: dict[str, list[str]] = _document()["countries"]
    names = (OPEN_SEA, *countries)
    continent = {country: names.index(name) for name, members in countries.items() for country in members}
    return names, np.array([0, *(continent[country] for country in country_names()[1:])], dtype=np.int64)


@lru_cache(maxsize=1)
def _parts() -> tuple[tuple[int, int, tuple[float, float, float, float]], ...]:
    """Return (country index, continent's place, box as south, west, north, east) of the parts listed by box."""
    names, countries = _continents()[0], country_names()
    return tuple(
        (
            countries.index(part["country"]),
            names.index(part["continent"]),
            (part["south"], part["west"], part["north"], part["east"]),
        )
        for part in _document()["parts"]
    )
