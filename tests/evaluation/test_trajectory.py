from __future__ import annotations

import math

import numpy as np
import pytest

from vidtag_cli.evaluation.trajectory import (
    KM_PER_DEGREE,
    coupling_distance,
    curve_distances,
    discrete_frechet,
    longitude_range_deg,
    mean_range_difference,
    plane_distance_deg,
)
from vidtag_cli.geo.sphere import haversine_km

NAN = (math.nan, math.nan)
# The same sums in another order.
SAME_NUMBER = 1e-9
SEAM_TRACKS = {
    "antimeridian": [(5.0, 179.8), (5.1, 179.9), (5.2, -180.0), (5.3, -179.9), (5.4, -179.8)],
    "north pole": [(89.8, 30.0), (89.9, 30.0), (90.0, 0.0), (89.9, -150.0)],
    "south pole": [(-89.9, 10.0), (-90.0, 77.0), (-89.9, -170.0)],
}


def slow_frechet(first, second, distance):
    """The recursion of Eiter and Mannila, as printed."""
    table = np.full((len(first), len(second)), -1.0)

    def reach(i, j):
        if table[i, j] < 0.0:
            step = float(distance(first[i], second[j]))
            ways = [reach(a, b) for a, b in ((i - 1, j), (i - 1, j - 1), (i, j - 1)) if a >= 0 and b >= 0]
            table[i, j] = max(min(ways), step) if ways else step
        return table[i, j]

    return reach(len(first) - 1, len(second) - 1)


def walk(random, length, step_deg=0.01):
    start = random.uniform([-60.0, -120.0], [60.0, 120.0])
    return start + np.cumsum(random.normal(0.0, step_deg, (length, 2)), axis=0)


@pytest.mark.parametrize("seed", range(100))
def test_degrees_agree_with_similaritymeasures_away_from_seams(seed):
    similaritymeasures = pytest.importorskip("similaritymeasures", reason="pip install similaritymeasures")
    random = np.random.default_rng(seed)
    truth = walk(random, 20)
    predicted = truth + random.normal(0.0, 0.02, truth.shape)
    expected = similaritymeasures.frechet_dist(truth, predicted)
    assert discrete_frechet(truth, predicted).degrees == pytest.approx(expected, abs=SAME_NUMBER)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("distance", [haversine_km, plane_distance_deg])
def test_curves_of_different_length_agree_with_the_recursion(seed, distance):
    random = np.random.default_rng(seed)
    first, second = walk(random, int(random.integers(1, 15)), 30.0), walk(random, int(random.integers(1, 15)), 30.0)
    first, second = (np.stack([c[:, 0].clip(-90, 90), (c[:, 1] + 180) % 360 - 180], 1) for c in (first, second))
    assert coupling_distance(first, second, distance) == pytest.approx(
        slow_frechet(first, second, distance), abs=SAME_NUMBER
    )


@pytest.mark.parametrize("name", SEAM_TRACKS)
def test_a_perfect_prediction_across_a_seam_scores_zero(name):
    track = np.array(SEAM_TRACKS[name])
    assert discrete_frechet(track, track).degrees == 0.0
    assert discrete_frechet(track, track).km == 0.0
    assert mean_range_difference(track, track).degrees == 0.0
    assert mean_range_difference(track, track).km == 0.0


@pytest.mark.parametrize("name", SEAM_TRACKS)
def test_another_spelling_of_the_same_places_scores_zero(name):
    track = np.array(SEAM_TRACKS[name])
    other = track.copy()
    other[other[:, 1] == -180.0, 1] = 180.0
    other[np.abs(other[:, 0]) == 90.0, 1] = -123.0
    for distance in (discrete_frechet(track, other), mean_range_difference(track, other)):
        assert distance.degrees == pytest.approx(0.0, abs=SAME_NUMBER)
        assert distance.km == pytest.approx(0.0, abs=1e-9)


def test_a_shift_across_the_antimeridian_is_the_shift():
    truth = np.array([(0.0, 179.9), (0.0, 179.95)])
    distance = discrete_frechet(truth, np.array([(0.0, -179.9), (0.0, -179.85)]))
    assert distance.degrees == pytest.approx(0.2)
    assert distance.km == pytest.approx(0.2 * KM_PER_DEGREE)


def test_the_way_over_the_pole_is_the_short_one():
    assert plane_distance_deg(np.array([89.0, 0.0]), np.array([89.5, -180.0])) == pytest.approx(1.5)
    assert plane_distance_deg(np.array([-89.0, 0.0]), np.array([-89.5, 90.0])) == pytest.approx(1.5)
    assert plane_distance_deg(np.array([3.0, 4.0]), np.array([0.0, 0.0])) == pytest.approx(5.0)


def planar_mean_range_difference(truth, predicted):
    """Equation 7 of the paper for each coordinate, then their mean, on the plane."""
    return float(np.mean(np.abs(np.ptp(truth, axis=0) - np.ptp(predicted, axis=0))))


@pytest.mark.parametrize("seed", range(100))
def test_the_range_difference_is_equation_7_away_from_seams(seed):
    random = np.random.default_rng(seed)
    truth = walk(random, 20)
    predicted = truth + random.normal(0.0, 0.02, truth.shape)
    assert mean_range_difference(truth, predicted).degrees == pytest.approx(
        planar_mean_range_difference(truth, predicted), abs=SAME_NUMBER
    )


def test_the_range_difference_across_the_antimeridian_by_hand():
    truth, predicted = np.array([(0.0, 179.5), (0.0, -179.5)]), np.array([(0.0, 178.0), (0.0, 179.5)])
    difference = mean_range_difference(truth, predicted)  # ranges of longitude 1 and 1.5, of latitude 0 and 0
    assert difference.degrees == pytest.approx(0.25)
    assert difference.km == pytest.approx(0.25 * KM_PER_DEGREE)
    assert planar_mean_range_difference(truth, predicted) == pytest.approx(178.75)  # what the plane would say


def test_the_range_difference_over_the_pole_by_hand():
    truth = np.array([(89.0, 0.0), (90.0, 55.0), (89.0, -180.0)])  # ranges 1 and 180 degrees; centred on the pole
    turned = np.array([(89.0, 90.0), (90.0, -20.0), (89.0, -90.0)])
    assert mean_range_difference(truth, turned).degrees == pytest.approx(0.0, abs=SAME_NUMBER)
    standing = mean_range_difference(truth, np.repeat(truth[:1], 3, axis=0))
    assert standing.degrees == pytest.approx((1.0 + 180.0) / 2.0)
    assert standing.km == pytest.approx(0.5 * KM_PER_DEGREE)  # at the pole longitudes span no way at all


def test_frechet_over_the_pole_by_hand():
    truth = np.array([(89.0, 0.0), (90.0, 55.0), (89.0, -180.0)])
    behind = np.array([(88.0, 0.0), (89.0, 0.0), (90.0, -77.0)])  # the same flight one degree behind
    distance = discrete_frechet(truth, behind)
    assert distance.degrees == pytest.approx(1.0)
    assert distance.km == pytest.approx(KM_PER_DEGREE)


def test_frechet_across_the_antimeridian_by_hand():
    truth = np.array([(0.0, 179.0), (0.0, -180.0), (0.0, -179.0)])
    detour = np.array([(0.0, 179.0), (2.0, 180.0), (0.0, -179.0)])
    distance = discrete_frechet(truth, detour)
    assert distance.degrees == pytest.approx(2.0)
    assert distance.km == pytest.approx(2.0 * KM_PER_DEGREE)


def test_a_detour_is_seen_by_frechet_and_by_the_range():
    truth = np.array([(0.0, 0.0), (0.0, 1.0), (0.0, 2.0)])
    detour = np.array([(0.0, 0.0), (3.0, 1.0), (0.0, 2.0)])
    assert discrete_frechet(truth, detour).degrees == pytest.approx(3.0)
    difference = mean_range_difference(truth, detour)
    assert difference.degrees == pytest.approx(1.5)
    assert difference.km == pytest.approx(1.5 * KM_PER_DEGREE)


def test_the_range_in_kilometres_shrinks_with_latitude():
    truth, predicted = np.array([(60.0, 0.0), (60.0, 1.0)]), np.array([(60.0, 0.0), (60.0, 3.0)])
    difference = mean_range_difference(truth, predicted)
    assert difference.degrees == pytest.approx(1.0)
    # The centroid of two points of one latitude lies a little poleward of it: 0.002 degrees here.
    assert difference.km == pytest.approx(0.5 * KM_PER_DEGREE, rel=1e-3)


@pytest.mark.parametrize(
    ("longitudes", "expected"),
    [([10.0, 12.0], 2.0), ([179.0, -179.0], 2.0), ([-180.0, 180.0], 0.0), ([0.0], 0.0), ([-90.0, 0.0, 90.0], 180.0)],
)
def test_the_range_of_longitudes_is_the_smallest_arc(longitudes, expected):
    assert longitude_range_deg(np.array([(0.0, lon) for lon in longitudes])) == pytest.approx(expected)


def test_abstentions_leave_the_curve_and_show_in_the_coverage():
    truth = np.array([(0.0, 0.0), (0.0, 1.0), (0.0, 2.0), NAN])
    predicted = np.array([(0.0, 0.0), NAN, (0.0, 2.0), (50.0, 50.0)])
    distance = discrete_frechet(truth, predicted)
    assert distance.degrees == pytest.approx(1.0)
    assert distance.coverage == pytest.approx(2 / 3)


def test_nothing_located_is_nan_with_coverage_zero():
    truth, predicted = np.array([(0.0, 0.0)]), np.array([NAN])
    for distance in (discrete_frechet(truth, predicted), mean_range_difference(truth, predicted)):
        assert math.isnan(distance.degrees) and math.isnan(distance.km)
        assert distance.coverage == 0.0


def test_a_long_track_shifted_is_the_shift():
    truth = np.stack([np.linspace(0.0, 10.0, 1000), np.full(1000, 20.0)], 1)
    assert discrete_frechet(truth, truth + [0.0, 0.25]).degrees == pytest.approx(0.25)


def test_all_curves_of_several_clips():
    random = np.random.default_rng(3)
    clips = [(walk(random, length), walk(random, length)) for length in (3, 8)]
    clips.append((walk(random, 4), np.full((4, 2), np.nan)))
    curves = curve_distances(clips)
    assert list(curves) == ["dfd_deg", "dfd_km", "mrd_deg", "mrd_km"]
    for number, clip in enumerate(clips[:2]):
        frechet, ranges = discrete_frechet(*clip), mean_range_difference(*clip)
        values = [curves[name][number] for name in curves]
        assert values == [frechet.degrees, frechet.km, ranges.degrees, ranges.km]
    assert all(math.isnan(values[2]) for values in curves.values())


def test_a_single_frame_has_a_distance():
    truth, predicted = np.array([(10.0, 20.0)]), np.array([(10.0, 23.0)])
    assert discrete_frechet(truth, predicted).degrees == pytest.approx(3.0)
    assert mean_range_difference(truth, predicted).degrees == 0.0


@pytest.mark.parametrize("pole_deg", [90.0, -90.0])
def test_a_pole_has_no_longitude(pole_deg):
    assert longitude_range_deg(np.array([(pole_deg, 77.0), (pole_deg, -20.0)])) == 0.0
    near_deg = pole_deg * 0.99
    track = np.array([(near_deg, 10.0), (pole_deg, 77.0), (near_deg, 11.0)])
    assert longitude_range_deg(track) == pytest.approx(1.0)
