"""What a gallery covers, and how near a perfect model could get with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vidtag_cli.errors import InputError
from vidtag_cli.geo.antimeridian import bounding_box
from vidtag_cli.geo.grid import box_area_km2, equal_area_grid
from vidtag_cli.geo.land import country_index, country_names, is_land
from vidtag_cli.geo.nearest import nearest_neighbour

FLOOR_SAMPLES = 10_000
"""Places the floor is measured at; its 95th percentile then rests on 500 of them."""


@dataclass(frozen=True, slots=True)
class CountryShare:
    """A country, or "sea", and how many points of a gallery lie in it."""

    name: str
    points: int


@dataclass(frozen=True, slots=True)
class Floor:
    """Distances from places of an area to the nearest gallery point: no answer can be nearer than that.

    ``farthest_latlon_deg`` is the place of the greatest distance among the ``places`` looked at.
    """

    area: str
    places: int
    median_km: float
    p95_km: float
    max_km: float
    farthest_latlon_deg: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Number of points, their box (west, south, east, north; west > east across 180) and the countries they lie in."""

    points: int
    bounding_box_deg: tuple[float, float, float, float]
    countries: tuple[CountryShare, ...]


def measure_coverage(latlon_deg: np.ndarray) -> Coverage:
    """Return the coverage of gallery points (G, 2), the countries with most points first."""
    counts = np.bincount(country_index(latlon_deg), minlength=len(country_names()))
    order = np.lexsort((np.arange(len(counts)), -counts))
    shares = tuple(CountryShare(country_names()[i], int(counts[i])) for i in order if counts[i])
    return Coverage(len(latlon_deg), bounding_box(latlon_deg), shares)


def measure_floor(latlon_deg: np.ndarray, area_latlon_deg: np.ndarray | None = None, area: str = "") -> Floor:
    """Return the floor of gallery points (G, 2) over the places of an area (A, 2), named ``area``.

    The default area is the land in the gallery's bounding box, sampled evenly.
    """
    if area_latlon_deg is None:
        area_latlon_deg, kind = places_in_box(*bounding_box(latlon_deg))
        area = f"{kind} in the gallery's bounding box"
    if len(area_latlon_deg) == 0:
        raise InputError(f"{area or 'the area'}: there is no place in it to measure the gallery's floor at")
    distance_km, _ = nearest_neighbour(area_latlon_deg, np.asarray(latlon_deg))
    farthest = int(distance_km.argmax())
    return Floor(
        area=area,
        places=len(area_latlon_deg),
        median_km=float(np.median(distance_km)),
        p95_km=float(np.quantile(distance_km, 0.95)),
        max_km=float(distance_km[farthest]),
        farthest_latlon_deg=(float(area_latlon_deg[farthest, 0]), float(area_latlon_deg[farthest, 1])),
    )


def places_in_box(
    west_deg: float, south_deg: float, east_deg: float, north_deg: float
) -> tuple[np.ndarray, Literal["land", "sea", "the ends"]]:
    """Return about ``FLOOR_SAMPLES`` evenly spread (A, 2) places on the land of a box, or on the sea of one without
    land, or the two ends of one without area; and which of these they are.
    """
    if west_deg == east_deg or south_deg == north_deg:
        return np.array([[south_deg, west_deg], [north_deg, east_deg]]), "the ends"
    spacing_km = math.sqrt(box_area_km2(south_deg, west_deg, north_deg, east_deg) / FLOOR_SAMPLES)
    grid = equal_area_grid(spacing_km, south_deg, west_deg, north_deg, east_deg)
    land = grid[is_land(grid)]
    if len(land) == 0:
        return grid, "sea"
    # Where most of the box is sea, a finer grid makes up for the places lost.
    finer = equal_area_grid(spacing_km * math.sqrt(len(land) / len(grid)), south_deg, west_deg, north_deg, east_deg)
    return finer[is_land(finer)], "land"
