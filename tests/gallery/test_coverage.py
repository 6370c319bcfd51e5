"""What ``gallery info`` says."""

from __future__ import annotations

import numpy as np
import pytest

from vidtag_cli.errors import InputError
from vidtag_cli.gallery.coverage import measure_coverage, measure_floor, places_in_box
from vidtag_cli.geo.grid import equal_area_grid
from vidtag_cli.geo.land import is_land


def test_coverage_counts_points_by_country() -> None:
    positions = np.array([[52.5, 13.4], [48.1, 11.6], [48.86, 2.35], [0.0, -30.0], [0.0, 0.0], [0.0, 1.0]])
    coverage = measure_coverage(positions)
    assert [(share.name, share.points) for share in coverage.countries] == [("sea", 3), ("Germany", 2), ("France", 1)]
    assert coverage.points == 6
    assert coverage.bounding_box_deg == (-30.0, 0.0, 13.4, 52.5)


def test_the_floor_of_a_grid_is_known() -> None:
    spacing_km = 50.0
    grid = equal_area_grid(spacing_km, -30.0, 120.0, -20.0, 145.0)
    floor = measure_floor(grid)
    # Mean distance to the centre of a square is 0.383 of its side, the largest half its diagonal.
    assert floor.median_km == pytest.approx(0.40 * spacing_km, rel=0.05)
    assert floor.max_km <= spacing_km * np.sqrt(0.5) * 1.1
    assert floor.median_km < floor.p95_km < floor.max_km
    assert floor.places > 5000


def test_the_floor_of_an_area_without_points_is_far() -> None:
    lagos = np.array([[6.52, 3.37]])
    floor = measure_floor(np.array([[5.60, -0.19]]), lagos, "Lagos")
    assert floor.area == "Lagos"
    assert floor.max_km == pytest.approx(407.0, rel=0.02)
    assert floor.farthest_latlon_deg == (6.52, 3.37)


def test_the_floor_of_a_single_point_and_across_the_antimeridian() -> None:
    assert measure_floor(np.array([[48.0, 2.0]])).max_km == 0.0
    fiji = measure_floor(np.array([[-16.5, 179.5], [-17.5, -179.5]]))
    assert fiji.max_km < 160.0


def test_places_of_a_box_are_land_where_there_is_land() -> None:
    places, kind = places_in_box(-10.0, 35.0, 5.0, 45.0)
    assert kind == "land"
    assert is_land(places).all()
    places, kind = places_in_box(-35.0, -5.0, -25.0, 5.0)
    assert kind == "sea"
    assert len(places) > 5000
    assert not is_land(places).any()
    assert places_in_box(7.0, 1.0, 7.0, 2.0)[1] == "the ends"
    with pytest.raises(InputError, match="no place"):
        measure_floor(np.zeros((1, 2)), np.zeros((0, 2)), "nowhere")
