"""Grids: even density in every band of latitude, no repeats, no seam."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidtag_cli.geo.grid import box_area_km2, equal_area_grid, equal_area_grid_blocks
from vidtag_cli.geo.nearest import nearest_neighbour
from vidtag_cli.geo.sphere import EARTH_RADIUS_KM, haversine_km, unit_vector

DENSITY_TOLERANCE = 0.03
"""Rounding a row up to whole points adds at most half a point to rows of at least 40 within 80 degrees of the
equator."""


def test_density_is_even_in_every_band_of_latitude() -> None:
    spacing_km = 100.0
    grid = equal_area_grid(spacing_km)
    for south in range(-80, 80, 10):
        count = ((grid[:, 0] >= south) & (grid[:, 0] < south + 10)).sum()
        expected = box_area_km2(south, -180.0, south + 10, 180.0) / spacing_km**2
        # A band may hold one row of points more or less than its share.
        assert count == pytest.approx(expected, rel=DENSITY_TOLERANCE + 100.0 / (10 * 111.2))


def test_density_of_the_fine_grid_is_constant_to_a_few_percent() -> None:
    spacing_km = 25.0
    grid = equal_area_grid(spacing_km)
    assert len(grid) == pytest.approx(4.0 * math.pi * EARTH_RADIUS_KM**2 / spacing_km**2, rel=0.005)
    for south in (-90, -60, -30, 0, 30, 60, 80):
        count = ((grid[:, 0] >= south) & (grid[:, 0] < south + 10)).sum()
        assert count == pytest.approx(box_area_km2(south, -180.0, south + 10, 180.0) / spacing_km**2, rel=0.03)


def test_poles_are_neither_bunched_nor_bare() -> None:
    grid = equal_area_grid(200.0)
    polar = grid[np.abs(grid[:, 0]) > 85.0]
    gap_km, _ = nearest_neighbour(np.array([[90.0, 0.0], [-90.0, 0.0]]), grid)
    assert (gap_km < 200.0).all()
    chords = np.linalg.norm(unit_vector(polar)[:, None] - unit_vector(polar)[None], axis=-1) * EARTH_RADIUS_KM
    assert chords[~np.eye(len(polar), dtype=bool)].min() > 0.5 * 200.0 / math.sqrt(2.0)


def test_no_point_repeats_and_the_result_is_the_same_twice() -> None:
    grid = equal_area_grid(300.0)
    assert len(np.unique(grid.round(9), axis=0)) == len(grid)
    np.testing.assert_array_equal(grid, equal_area_grid(300.0))
    assert grid.dtype == np.float64
    assert (grid[:, 1] >= -180.0).all() and (grid[:, 1] < 180.0).all()


def test_a_box_across_the_antimeridian_is_the_same_grid_as_elsewhere() -> None:
    across = equal_area_grid(20.0, -20.0, 175.0, -10.0, -175.0)
    elsewhere = equal_area_grid(20.0, -20.0, 5.0, -10.0, 15.0)
    assert len(across) == len(elsewhere)
    assert (np.abs(across[:, 1]) >= 175.0).all()
    np.testing.assert_allclose(haversine_km(across, elsewhere + [0.0, 170.0]), 0.0, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-89.0, 80.0), st.floats(0.5, 9.0), st.floats(-180.0, 180.0), st.floats(0.5, 40.0), st.floats(20.0, 200.0)
)
def test_every_place_of_a_box_has_a_point_within_the_half_diagonal(
    south: float, height: float, west: float, width: float, spacing_km: float
) -> None:
    east = west + width if west + width <= 180.0 else west + width - 360.0
    grid = equal_area_grid(spacing_km, south, west, south + height, east)
    rng = np.random.default_rng(0)
    inside = np.stack([rng.uniform(south, south + height, 20), west + rng.uniform(0.0, width, 20)], axis=-1)
    gap_km, _ = nearest_neighbour(inside, grid)
    # Steps are equal along the middle of a row; its equatorward edge is longer by at most this much at 89 degrees.
    assert (gap_km <= spacing_km * math.sqrt(0.5) * 1.6).all()


def test_blocks_are_the_grid_in_pieces() -> None:
    blocks = list(equal_area_grid_blocks(150.0, block=1000))
    assert len(blocks) > 5
    np.testing.assert_array_equal(np.concatenate(blocks), equal_area_grid(150.0))


def test_a_box_smaller_than_the_spacing_has_its_centre() -> None:
    np.testing.assert_allclose(equal_area_grid(500.0, 10.0, 20.0, 10.2, 20.2), [[10.1, 20.1]])


@pytest.mark.parametrize(
    "arguments",
    [
        (0.0,),
        (float("nan"),),
        (-5.0,),
        (10.0, 20.0, 0.0, 10.0, 5.0),
        (10.0, -91.0, 0.0, 10.0, 5.0),
        (10.0, 0.0, 5.0, 10.0, 5.0),
        (10.0, 0.0, -190.0, 10.0, 5.0),
    ],
)
def test_boxes_that_make_no_grid_are_refused(arguments: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"spacing|latitudes|longitudes"):
        equal_area_grid(*arguments)


def test_box_area_of_the_whole_sphere() -> None:
    assert box_area_km2(-90.0, -180.0, 90.0, 180.0) == pytest.approx(4.0 * math.pi * EARTH_RADIUS_KM**2)
    assert box_area_km2(-20.0, 175.0, -10.0, -175.0) == pytest.approx(box_area_km2(-20.0, 0.0, -10.0, 10.0))


def test_a_spacing_that_is_a_slip_is_refused_before_any_work():
    with pytest.raises(ValueError, match=r"1e-05 km would give 8e\+13 points"):
        equal_area_grid(1e-5, 48.0, 2.0, 49.0, 3.0)
