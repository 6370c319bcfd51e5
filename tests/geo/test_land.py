"""Land and countries at places everyone can look up, and the raster against its source's own rules."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vidtag_cli.errors import UsageError
from vidtag_cli.geo.land import CELL_DEG, country_cells, country_index, country_names, find_country, is_land

PLACES = {
    "Germany": (52.52, 13.40),
    "Nigeria": (6.52, 3.37),
    "Lesotho": (-29.6, 28.2),
    "South Africa": (-28.7, 24.7),
    "Russia": (71.2, -179.95),
    "Antarctica": (-90.0, 0.0),
    "Brazil": (-15.8, -47.9),
    "Japan": (35.68, 139.5),
    "Singapore": (1.35, 103.82),
}


@pytest.mark.parametrize(("name", "latlon_deg"), PLACES.items())
def test_places_lie_in_their_country(name: str, latlon_deg: tuple[float, float]) -> None:
    assert country_names()[country_index(np.array([latlon_deg]))[0]] == name


@pytest.mark.parametrize("latlon_deg", [(0.0, 0.0), (0.0, -30.0), (90.0, 0.0), (41.5, 51.0), (-50.0, 180.0)])
def test_seas_are_not_land(latlon_deg: tuple[float, float]) -> None:
    assert not is_land(np.array([latlon_deg]))[0]


def test_the_antimeridian_is_one_place() -> None:
    lat_deg = np.linspace(-90.0, 90.0, 4001)
    east, west = (np.stack([lat_deg, np.full_like(lat_deg, lon)], axis=-1) for lon in (180.0, -180.0))
    np.testing.assert_array_equal(country_index(east), country_index(west))
    taveuni = np.array([[-16.85, 179.97], [-16.80, -179.99]])
    assert (country_index(taveuni) == find_country("Fiji")).all()


def test_a_hole_in_a_country_is_not_that_country() -> None:
    lesotho = country_cells(find_country("Lesotho"))
    assert len(lesotho) * (CELL_DEG * 111.2) ** 2 * math.cos(math.radians(29.6)) == pytest.approx(30_355, rel=0.05)


def test_land_share_of_the_earth() -> None:
    # Natural Earth and every atlas: 29 % of the surface is land, a little less without ice shelves.
    rows = np.arange(0.025, 180.0, 0.5) - 90.0
    latlon_deg = np.stack(np.meshgrid(rows, np.arange(-180.0, 180.0, 0.5), indexing="ij"), axis=-1)
    weights = np.cos(np.deg2rad(latlon_deg[..., 0]))
    assert (is_land(latlon_deg) * weights).sum() / weights.sum() == pytest.approx(0.29, abs=0.01)


def test_every_country_has_a_cell() -> None:
    lon_deg = np.arange(-180.0 + CELL_DEG / 2.0, 180.0, CELL_DEG)
    met: set[int] = set()
    for lat_deg in np.arange(90.0 - CELL_DEG / 2.0, -90.0, -CELL_DEG):
        met |= set(np.unique(country_index(np.stack([np.full_like(lon_deg, lat_deg), lon_deg], axis=-1))).tolist())
    assert met == set(range(len(country_names())))


def test_areas_of_countries() -> None:
    for name, area_km2 in {"France": 640_000, "Australia": 7_690_000, "Iceland": 103_000, "Russia": 17_100_000}.items():
        cells = country_cells(find_country(name))
        cell_km2 = (CELL_DEG * 111.195) ** 2 * np.cos(np.deg2rad(cells[:, 0]))
        assert cell_km2.sum() == pytest.approx(area_km2, rel=0.03), name


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("germany", "Germany"),
        (" COTE D'IVOIRE ", "Côte d'Ivoire"),
        ("uk", "United Kingdom"),
        ("Bosnia and Herz.", "Bosnia and Herzegovina"),
        ("076", "Brazil"),
        ("turkiye", "Turkey"),
    ],
)
def test_countries_are_found_by_the_names_people_type(spelling: str, name: str) -> None:
    assert country_names()[find_country(spelling)] == name


def test_an_unknown_country_lists_close_ones() -> None:
    with pytest.raises(UsageError, match="Germany"):
        find_country("Germny")
    with pytest.raises(UsageError, match="unknown country"):
        find_country("")
    with pytest.raises(UsageError, match="unknown country"):
        find_country("sea")
