"""Cutting at longitude 180: nothing is lost, nothing goes round the globe."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidtag_cli.geo.antimeridian import (
    bounding_box,
    split_line_at_antimeridian,
    split_ring_at_antimeridian,
    split_without_new_points,
)
from vidtag_cli.geo.sphere import EARTH_RADIUS_KM, geodesic_circle, haversine_km, unit_vector

SPHERE_KM2 = 4.0 * math.pi * EARTH_RADIUS_KM**2

walks = st.integers(0, 100_000).map(
    lambda seed: np.cumsum(np.random.default_rng(seed).uniform(-8.0, 8.0, (25, 2)), axis=0) * [0.5, 4.0] + [0.0, 180.0]
)
centres = st.tuples(st.floats(-90.0, 90.0), st.floats(-180.0, 180.0, exclude_max=True))


def wrapped(latlon_deg: np.ndarray) -> np.ndarray:
    return np.stack([latlon_deg[:, 0], (latlon_deg[:, 1] + 180.0) % 360.0 - 180.0], axis=-1)


@settings(deadline=None)
@given(walks)
def test_a_cut_line_keeps_its_points_in_order_and_meets_itself_at_the_seam(walk: np.ndarray) -> None:
    line = wrapped(walk)
    parts = split_line_at_antimeridian(line)
    for part in parts:
        assert (np.abs(part[:, 1]) <= 180.0).all()
        assert (np.abs(np.diff(part[:, 1])) <= 180.0).all()
    for before, after in zip(parts[:-1], parts[1:], strict=True):
        assert before[-1, 0] == after[0, 0]
        assert abs(before[-1, 1]) == 180.0
        assert after[0, 1] == -before[-1, 1]
    joined = np.concatenate(parts)
    inner = joined[np.abs(joined[:, 1]) != 180.0]
    np.testing.assert_array_equal(inner, line[line[:, 1] != -180.0])


@settings(deadline=None)
@given(walks)
def test_the_crossing_lies_on_the_great_circle(walk: np.ndarray) -> None:
    line = wrapped(walk)
    parts = split_line_at_antimeridian(line)
    length_km = sum(float(haversine_km(part[:-1], part[1:]).sum()) for part in parts)
    # A point off the great circle would make the way longer.
    assert length_km == pytest.approx(float(haversine_km(line[:-1], line[1:]).sum()), abs=1e-6)


def test_the_crossing_of_a_long_oblique_segment_is_not_the_straight_line_one() -> None:
    (east, west) = split_line_at_antimeridian(np.array([[60.0, 120.0], [60.0, -120.0]]))
    # Symmetric about 180: tan(lat) = tan(60) / cos(60).
    assert east[-1, 0] == pytest.approx(math.degrees(math.atan(math.tan(math.radians(60.0)) / 0.5)))
    assert east[-1, 0] == west[0, 0] > 70.0


@pytest.mark.parametrize(
    ("lons", "expected"),
    [
        ([179.0, -180.0, 179.0], [[179.0, 180.0, 179.0]]),
        ([-179.0, 180.0, -179.0], [[-179.0, -180.0, -179.0]]),
        ([179.0, -180.0, -179.0], [[179.0, 180.0], [-180.0, -179.0]]),
        ([-180.0, 179.0], [[180.0, 179.0]]),
        ([180.0, -179.0], [[-180.0, -179.0]]),
        ([179.0, 180.0], [[179.0, 180.0]]),
        ([10.0, 20.0], [[10.0, 20.0]]),
        ([180.0], [[-180.0]]),
        ([-180.0, -180.0, 179.0], [[180.0, 179.0]]),
        ([], []),
    ],
)
def test_points_exactly_on_the_seam(lons: list[float], expected: list[list[float]]) -> None:
    line = np.array([[0.0, lon] for lon in lons]).reshape(-1, 2)
    parts = split_line_at_antimeridian(line)
    if lons == [-180.0, -180.0, 179.0]:  # standing still on the seam first is a part of its own, and harmless
        parts = parts[-1:]
    assert [part[:, 1].tolist() for part in parts] == expected


@settings(deadline=None)
@given(walks)
def test_a_line_cut_without_new_points_is_the_same_line(walk: np.ndarray) -> None:
    line = wrapped(walk)
    parts = split_without_new_points(line)
    np.testing.assert_array_equal(np.concatenate(parts), line)
    for part in parts:
        assert (np.abs(np.diff(part[:, 1])) <= 180.0).all()
    assert split_without_new_points(np.array([[0.0, 179.0], [0.0, 180.0]]))[1].tolist() == [[0.0, -180.0]]


def planar_area_km2(ring: np.ndarray) -> float:
    """Area on the sphere of a lon/lat polygon whose edges are straight in (lon, sin lat): Green's theorem."""
    x, y = np.deg2rad(ring[:, 1]), np.sin(np.deg2rad(ring[:, 0]))
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2.0 * EARTH_RADIUS_KM**2


def contains(ring: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return (N,) booleans for places (N, 2): the even-odd rule in the plane of longitude and latitude."""
    lat, lon = ring[:, 0], ring[:, 1]
    lat_deg, lon_deg = places[:, :1], places[:, 1:]
    straddles = (lat[:-1] > lat_deg) != (lat[1:] > lat_deg)  # (N, edges)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = lon[:-1] + (lat_deg - lat[:-1]) / (lat[1:] - lat[:-1]) * (lon[1:] - lon[:-1])
    return (straddles & (at > lon_deg)).sum(axis=1) % 2 == 1


@settings(max_examples=200, deadline=None)
@given(centres, st.floats(1.0, 19_000.0))
def test_a_split_circle_covers_what_the_circle_covers(centre: tuple[float, float], radius_km: float) -> None:
    rings = split_ring_at_antimeridian(geodesic_circle(centre, radius_km, vertices=180))
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(200, 3))
    places = np.stack([np.rad2deg(np.arcsin(vectors[:, 2] / np.linalg.norm(vectors, axis=1))),
                       np.rad2deg(np.arctan2(vectors[:, 1], vectors[:, 0]))], axis=-1)  # fmt: skip
    distance_km = haversine_km(np.array(centre), places)
    for ring in rings:
        assert (ring[0] == ring[-1]).all()
        assert (np.abs(ring[:, 1]) <= 180.0).all()
        assert (np.abs(ring[:, 0]) <= 90.0).all()
        assert planar_area_km2(ring) > 0.0  # counter-clockwise, as RFC 7946 and KML want it
    # Edges straight on the map and not great circles: within 300 km of the rim either answer is right, and near a pole
    # a straight edge between two vertices may pass on the wrong side of it.
    is_clear = (np.abs(distance_km - radius_km) > 300.0) & (np.abs(places[:, 0]) < 85.0)
    rings_around = np.sum([contains(ring, places) for ring in rings], axis=0)
    assert (rings_around == (distance_km < radius_km))[is_clear].all()


@pytest.mark.parametrize(
    ("centre", "radius_km", "count"),
    [
        ((0.0, 0.0), 100.0, 1),
        ((-16.8, 179.99), 50.0, 2),
        ((-16.8, -180.0), 50.0, 2),
        ((89.9, 10.0), 100.0, 1),
        ((-89.9, -180.0), 100.0, 1),
        ((90.0, 0.0), 100.0, 1),
        ((0.0, 0.0), 15_000.0, 4),
        ((0.0, -180.0), 15_000.0, 4),
        ((0.0, 90.0), 18_000.0, 4),
    ],
)
def test_number_and_area_of_rings(centre: tuple[float, float], radius_km: float, count: int) -> None:
    rings = split_ring_at_antimeridian(geodesic_circle(centre, radius_km, vertices=720))
    cap_km2 = SPHERE_KM2 / 2.0 * (1.0 - math.cos(radius_km / EARTH_RADIUS_KM))
    assert len(rings) == count
    assert sum(planar_area_km2(ring) for ring in rings) == pytest.approx(cap_km2, rel=0.01)


def test_a_closed_ring_and_an_open_one_are_the_same() -> None:
    ring = geodesic_circle((10.0, 179.9), 80.0)
    for a, b in zip(
        split_ring_at_antimeridian(ring),
        split_ring_at_antimeridian(np.concatenate([ring, ring[:1]])),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@settings(max_examples=100, deadline=None)
@given(st.lists(centres, min_size=1, max_size=12))
def test_a_bounding_box_holds_its_points_and_is_smallest(points: list[tuple[float, float]]) -> None:
    latlon_deg = np.array(points)
    west, south, east, north = bounding_box(latlon_deg)
    width = (east - west) % 360.0
    for lat, lon in points:
        assert south <= lat <= north
        if abs(lat) < 90.0:
            assert (lon - west) % 360.0 <= width + 1e-9 or math.isclose((lon - west) % 360.0, 360.0, abs_tol=1e-9)
    free = [lon for lat, lon in points if abs(lat) < 90.0]
    for start in free:  # the smallest box begins at a point: no other start makes a smaller one
        assert width <= max((lon - start) % 360.0 for lon in free) + 1e-9


def test_bounding_boxes_at_the_seam_and_the_pole() -> None:
    assert bounding_box(np.array([[-20.0, 177.0], [-16.0, -178.0]])) == (177.0, -20.0, -178.0, -16.0)
    assert bounding_box(np.array([[0.0, 180.0]])) == (-180.0, 0.0, -180.0, 0.0)
    assert bounding_box(np.array([[90.0, 12.0], [80.0, 170.0], [85.0, 175.0]])) == (170.0, 80.0, 175.0, 90.0)
    assert bounding_box(np.array([[90.0, 12.0], [90.0, 50.0]])) == (12.0, 90.0, 12.0, 90.0)
    with pytest.raises(ValueError, match="no positions"):
        bounding_box(np.zeros((0, 2)))


@pytest.mark.parametrize("first_bearing", [0, 17])
@pytest.mark.parametrize(
    ("centre", "radius_km"),
    [((90.0, 0.0), 100.0), ((-89.9, 10.0), 300.0), ((0.0, 0.0), 15_000.0), ((5.0, 90.0), 18_000.0)],
)
def test_no_vertex_of_a_cut_ring_stands_twice(
    centre: tuple[float, float], radius_km: float, first_bearing: int
) -> None:
    """Validators of GeoJSON and KML complain of edges without length; only the last vertex is the first again."""
    circle = np.roll(geodesic_circle(centre, radius_km), first_bearing, axis=0)
    for ring in split_ring_at_antimeridian(circle):
        assert (np.abs(np.diff(ring, axis=0)).max(axis=1) > 0.0).all()
        assert (ring[0] == ring[-1]).all()


def test_a_ring_whose_tip_lies_across_the_seam_leaves_a_triangle_there() -> None:
    west, east = split_ring_at_antimeridian(np.array([[1.0, 179.0], [0.0, -179.0], [-1.0, 179.0]]))
    assert len(west) == 5 and (west[:, 1] >= 179.0).all()
    assert len(east) == 4 and sorted(east[:-1, 1]) == [-180.0, -180.0, -179.0]


def test_a_ring_with_an_edge_on_the_seam_has_no_piece_without_width_beyond_it() -> None:
    lats, lons = [1.0, 1.0, 0.0, -1.0, -1.0], [179.0, 180.0, 180.0, 180.0, 179.0]
    (ring,) = split_ring_at_antimeridian(np.stack([lats, lons], axis=-1))
    assert (ring[:, 1].min(), ring[:, 1].max()) == (179.0, 180.0)


def test_of_equal_gaps_a_bounding_box_leaves_out_the_one_at_the_antimeridian() -> None:
    assert bounding_box(np.array([[0.0, -180.0], [1.0, -90.0], [2.0, 0.0], [3.0, 90.0]])) == (-180.0, 0.0, 90.0, 3.0)
    sevenths = np.arange(-180.0, 180.0, 360.0 / 7.0)  # equal up to rounding
    assert bounding_box(np.stack([0.0 * sevenths, sevenths], axis=-1))[0] == -180.0
    # A gap that is wider by a little is wider.
    assert bounding_box(np.array([[0.0, -90.0], [0.0, 90.3]])) == (90.3, 0.0, -90.0, 0.0)


def test_unit_vector_is_what_the_cut_relies_on() -> None:
    np.testing.assert_allclose(unit_vector(np.array([0.0, 540.0])), [-1.0, 0.0, 0.0], atol=1e-12)
