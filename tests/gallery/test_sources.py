"""Points of land, boxes and countries."""

from __future__ import annotations

import numpy as np
import pytest

from vidtag_cli.errors import UsageError
from vidtag_cli.gallery import sources
from vidtag_cli.gallery.sources import box_points, country_points, land_points
from vidtag_cli.geo.land import country_cells, country_index, find_country, is_land
from vidtag_cli.geo.nearest import nearest_neighbour


def test_land_is_land_and_as_much_as_there_is() -> None:
    source = land_points(100.0)
    assert is_land(source.latlon_deg).all()
    assert source.cell_area_km2 == 100.0**2
    # 148.9 million km2 of land, 14.2 of them Antarctica.
    assert len(source.latlon_deg) * source.cell_area_km2 == pytest.approx(134.7e6, rel=0.03)
    assert source.latlon_deg[:, 0].min() >= -60.0


def test_a_box_across_the_antimeridian() -> None:
    source = box_points(10.0, -18.0, 177.0, -16.0, -178.0)
    assert (np.abs(source.latlon_deg[:, 1]) >= 177.0).all()
    land = box_points(10.0, -18.0, 177.0, -16.0, -178.0, land_only=True)
    assert 0 < len(land.latlon_deg) < len(source.latlon_deg)
    assert {*country_index(land.latlon_deg)} == {find_country("Fiji")}


def test_a_country_is_covered_and_nothing_else() -> None:
    iceland = country_points(20.0, "iceland")
    assert {*country_index(iceland.latlon_deg)} == {find_country("Iceland")}
    assert len(iceland.latlon_deg) * 400.0 == pytest.approx(103_000, rel=0.05)
    assert iceland.description == "Iceland, every 20 km"


@pytest.mark.parametrize("name", ["Fiji", "Russia"])
def test_countries_on_both_sides_of_the_antimeridian(name: str) -> None:
    spacing_km = 10.0 if name == "Fiji" else 100.0
    points = country_points(spacing_km, name).latlon_deg
    assert {*np.sign(points[:, 1])} == {-1.0, 1.0}
    assert (country_index(points) == find_country(name)).all()


def test_padding_reaches_as_far_as_it_says_and_no_further() -> None:
    padding_km = 80.0
    cells = country_cells(find_country("Fiji"))
    points = country_points(20.0, "Fiji", padding_km).latlon_deg
    distance_km, _ = nearest_neighbour(points, cells)
    assert distance_km.max() <= padding_km
    everything = box_points(20.0, -24.0, 174.0, -10.0, -174.0).latlon_deg
    far_km, _ = nearest_neighbour(everything, cells)
    assert len(points) == pytest.approx((far_km <= padding_km).sum(), rel=0.05)


def test_a_country_smaller_than_the_grid_has_a_point() -> None:
    points = country_points(100.0, "Monaco").latlon_deg
    assert points.shape == (1, 2)
    assert country_index(points)[0] == find_country("Monaco")


def test_antarctica_padded_over_the_pole() -> None:
    points = country_points(250.0, "Antarctica", 300.0).latlon_deg
    assert points[:, 0].min() < -88.0
    assert (country_index(points) == 0).any()


def test_grids_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="spacing"):
        land_points(0.0)
    with pytest.raises(UsageError, match="latitudes"):
        box_points(10.0, 5.0, 0.0, -5.0, 10.0)
    with pytest.raises(UsageError, match="no grid point"):
        box_points(10.0, -1.0, -31.0, 1.0, -29.0, land_only=True)
    with pytest.raises(UsageError, match="unknown country"):
        country_points(10.0, "Atlantis")


def test_every_source_says_what_it_covers() -> None:
    assert land_points(900.0).description == "land of the whole Earth from latitude -60 to 84, every 900 km"
    box = (500.0, -18.0, 177.0, -10.0, -178.0)
    assert box_points(*box).description == "box from -18, 177 to -10, -178 (lat, lon), every 500 km"
    land = box_points(900.0, 0.0, 0.0, 40.0, 40.0, land_only=True)
    assert land.description == "land in the box from 0, 0 to 40, 40 (lat, lon), every 900 km"
    assert country_points(50.0, "malta", 60.0).description == "Malta and 60 km around it, every 50 km"
    assert sources.PointSource(np.zeros((1, 2)), "a file").cell_area_km2 is None


def test_as_many_points_as_are_allowed_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    box = (500.0, -10.0, 0.0, 10.0, 20.0)
    count = len(box_points(*box).latlon_deg)
    monkeypatch.setattr(sources, "MOST_POINTS", count)
    assert len(box_points(*box).latlon_deg) == count
    monkeypatch.setattr(sources, "MOST_POINTS", count - 1)
    with pytest.raises(UsageError, match=f"makes over {count - 1} points: choose a larger spacing"):
        box_points(*box)
