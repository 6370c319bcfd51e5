"""Formulas of the sphere against values that do not depend on them, and where seams and poles could break them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidtag_cli.geo.sphere import (
    EARTH_RADIUS_KM,
    centroid_latlon,
    destination_latlon,
    geodesic_circle,
    haversine_km,
    initial_bearing_deg,
    interpolate_latlon,
    latlon_from_unit_vector,
    unit_vector,
    wrap_longitude_deg,
)

METRE_KM = 1e-3
"""float64 on the sphere is good to micrometres; a metre is far below any radius the program reports."""

latitudes = st.floats(-90.0, 90.0)
longitudes = st.floats(-180.0, 180.0, exclude_max=True)
positions = st.tuples(latitudes, longitudes).map(np.array)
bearings = st.floats(0.0, 360.0)


def chord_distance_km(a: np.ndarray, b: np.ndarray) -> float:
    """Distance by another road: the chord between unit vectors."""
    return 2.0 * EARTH_RADIUS_KM * math.asin(min(1.0, float(np.linalg.norm(unit_vector(a) - unit_vector(b))) / 2.0))


def test_known_distances() -> None:
    quarter_km = math.pi / 2.0 * EARTH_RADIUS_KM
    assert haversine_km(np.array([0.0, 0.0]), np.array([90.0, 123.0])) == pytest.approx(quarter_km)
    assert haversine_km(np.array([0.0, 0.0]), np.array([0.0, -180.0])) == pytest.approx(2.0 * quarter_km)
    # Paris to New York is 5837 km on the sphere; tables for the ellipsoid differ by less than 0.3 %.
    assert haversine_km(np.array([48.8566, 2.3522]), np.array([40.7128, -74.0060])) == pytest.approx(5837.0, rel=0.003)


def test_neighbours_across_the_antimeridian_are_near() -> None:
    assert haversine_km(np.array([-16.8, 179.999]), np.array([-16.8, -179.999])) < 0.3


def test_metres_apart_are_not_zero() -> None:
    assert haversine_km(np.array([48.0, 2.0]), np.array([48.0, 2.0001])) == pytest.approx(0.00744, rel=0.01)


@settings(deadline=None)
@given(longitudes, st.integers(-3, 3))
def test_wrapping_returns_to_the_range(lon_deg: float, turns: int) -> None:
    wrapped = wrap_longitude_deg(np.float64(lon_deg + 360.0 * turns))
    assert -180.0 <= wrapped < 180.0
    assert math.isclose(math.cos(math.radians(wrapped)), math.cos(math.radians(lon_deg)), abs_tol=1e-12)


@pytest.mark.parametrize("lon_deg", [180.0, -180.0, 540.0, np.nextafter(-180.0, -200.0), -1e-17 - 180.0])
def test_wrapping_never_gives_180(lon_deg: float) -> None:
    assert -180.0 <= wrap_longitude_deg(np.float64(lon_deg)) < 180.0


@settings(deadline=None)
@given(positions, positions)
def test_distance_agrees_with_the_chord_and_is_symmetric(a: np.ndarray, b: np.ndarray) -> None:
    distance_km = haversine_km(a, b)
    # asin of the chord is blunt near antipodes: 1e-8 rad there is 0.1 km.
    assert distance_km == pytest.approx(chord_distance_km(a, b), abs=0.2)
    assert distance_km == pytest.approx(haversine_km(b, a), abs=METRE_KM)


@settings(deadline=None)
@given(positions)
def test_unit_vectors_round_trip(position: np.ndarray) -> None:
    assert haversine_km(position, latlon_from_unit_vector(unit_vector(position))) < METRE_KM


@settings(deadline=None)
@given(positions, bearings, st.floats(0.0, 20000.0))
def test_a_destination_is_as_far_as_asked(start: np.ndarray, bearing_deg: float, distance_km: float) -> None:
    end = destination_latlon(start, bearing_deg, distance_km)
    assert -90.0 <= end[0] <= 90.0
    assert -180.0 <= end[1] < 180.0
    assert haversine_km(start, end) == pytest.approx(distance_km, abs=METRE_KM)


@settings(deadline=None)
@given(st.tuples(st.floats(-89.0, 89.0), longitudes).map(np.array), bearings, st.floats(1.0, 19000.0))
def test_bearing_and_destination_are_inverse(start: np.ndarray, bearing_deg: float, distance_km: float) -> None:
    end = destination_latlon(start, bearing_deg, distance_km)
    again = destination_latlon(start, initial_bearing_deg(start, end), distance_km)
    assert haversine_km(end, again) < METRE_KM


@settings(deadline=None)
@given(positions, positions, st.floats(0.0, 1.0))
def test_interpolation_stays_on_the_short_way(a: np.ndarray, b: np.ndarray, fraction: float) -> None:
    whole_km = float(haversine_km(a, b))
    between = interpolate_latlon(a, b, fraction)
    assert haversine_km(a, between) == pytest.approx(whole_km * fraction, abs=METRE_KM)
    if whole_km < 19000.0:  # near antipodes every way is the short way, and the bearing is ill defined
        assert haversine_km(between, b) == pytest.approx(whole_km * (1.0 - fraction), abs=METRE_KM)


def test_interpolation_across_the_antimeridian_does_not_pass_longitude_zero() -> None:
    between = interpolate_latlon(np.array([0.0, 179.0]), np.array([0.0, -179.0]), 0.5)
    assert between == pytest.approx([0.0, -180.0], abs=1e-9)


def test_centroid_across_the_antimeridian_and_at_the_pole() -> None:
    assert centroid_latlon(np.array([[10.0, 179.0], [10.0, -179.0]]))[1] == pytest.approx(-180.0)
    assert centroid_latlon(np.array([[80.0, 0.0], [80.0, 120.0], [80.0, -120.0]]))[0] == pytest.approx(90.0)
    weighted = centroid_latlon(np.array([[0.0, 0.0], [0.0, 90.0]]), np.array([1.0, 0.0]))
    assert weighted == pytest.approx([0.0, 0.0])
    with pytest.raises(ValueError, match="no centroid"):
        centroid_latlon(np.array([[0.0, 0.0], [0.0, -180.0]]))


@settings(max_examples=50, deadline=None)
@given(positions, st.floats(0.01, 5000.0))
def test_a_circle_keeps_its_radius(centre: np.ndarray, radius_km: float) -> None:
    ring = geodesic_circle((float(centre[0]), float(centre[1])), radius_km)
    assert ring.shape == (48, 2)
    assert haversine_km(centre[None], ring) == pytest.approx(radius_km, abs=METRE_KM)


def test_torch_and_numpy_agree() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    a, b = (np.stack([rng.uniform(-90, 90, 50), rng.uniform(-180, 180, 50)], -1) for _ in range(2))
    torch_a, torch_b = torch.from_numpy(a), torch.from_numpy(b)
    np.testing.assert_allclose(haversine_km(torch_a, torch_b).numpy(), haversine_km(a, b), atol=1e-9)
    np.testing.assert_allclose(unit_vector(torch_a).numpy(), unit_vector(a), atol=1e-12)
    np.testing.assert_allclose(
        interpolate_latlon(torch_a, torch_b, 0.3).numpy(), interpolate_latlon(a, b, 0.3), atol=1e-9
    )
