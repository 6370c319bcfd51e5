"""One plausible path: the likeliest one that a camera could have taken, and circles that stay honest."""

import itertools
import math

import numpy as np
import pytest

from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.pipeline.calibration import UncalibratedRule, UncertaintyRule
from vidtag_cli.pipeline.path import JUMP_NATS, PathRule, decode_path, path_rule, smooth_track
from vidtag_cli.track import Candidate, Track, TrackPoint, check_track

RULE = PathRule(max_speed_km_h=100.0, place_radius_km=1.0, max_radius50_km=math.inf, max_radius95_km=500.0)
MUNICH, AUGSBURG, SYDNEY = (48.14, 11.58), (48.37, 10.90), (-33.87, 151.21)


def place(latlon, probability):
    return Candidate(*latlon, score=0.5, probability=probability)


def point(number, *places, time_s=None):
    best = places[0]
    return TrackPoint(
        number, float(number) if time_s is None else time_s, "ok", best.lat_deg, best.lon_deg, 2000.0, 9000.0,
        best.probability, tuple(places),
    )  # fmt: skip


def track(*points):
    return Track("clip.mp4", tuple(points), "model")


def cost_of(path, candidates, times_s, rule):
    total = 0.0
    for number, index in enumerate(path):
        here = candidates[number][index]
        total -= math.log(here.probability)
        if number:
            before = candidates[number - 1][path[number - 1]]
            far_km = float(
                haversine_km(np.array([before.lat_deg, before.lon_deg]), np.array([here.lat_deg, here.lon_deg]))
            )
            reach_km = rule.max_speed_km_h * (times_s[number] - times_s[number - 1]) / 3600.0 + 2 * rule.place_radius_km
            total += min(max((far_km - reach_km) / (2 * rule.place_radius_km), 0.0), JUMP_NATS)
    return total


def test_no_other_path_is_cheaper():
    """Against every one of the 4^5 paths, for twenty clips of random candidates near and far."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        times_s = np.cumsum(rng.uniform(0.5, 90.0, 5))
        near = np.array(MUNICH) + rng.normal(0.0, 0.05, (5, 4, 2))
        far = np.stack([rng.uniform(-60, 60, (5, 4)), rng.uniform(-180, 180, (5, 4))], -1)
        latlon = np.where(rng.random((5, 4, 1)) < 0.6, near, far)
        candidates = [
            [place(spot, p) for spot, p in zip(frame, rng.dirichlet(np.ones(4)), strict=True)] for frame in latlon
        ]
        cheapest = min(itertools.product(range(4), repeat=5), key=lambda path: cost_of(path, candidates, times_s, RULE))
        found = decode_path(candidates, times_s, RULE)
        assert cost_of(found, candidates, times_s, RULE) == pytest.approx(cost_of(cheapest, candidates, times_s, RULE))


def test_one_wild_frame_gives_way_to_its_neighbours():
    wild = point(1, place(SYDNEY, 0.5), place((48.141, 11.581), 0.3))
    calm = [point(number, place(MUNICH, 0.6), place(SYDNEY, 0.1)) for number in (0, 2, 3)]
    rule = PathRule(100.0, 1.0, math.inf, math.inf)
    smooth = smooth_track(track(calm[0], wild, *calm[1:]), rule)
    assert [round(found.lat_deg) for found in smooth.points] == [48, 48, 48, 48]
    assert smooth.smoothing == "viterbi (at most 100 km/h)"
    check_track(smooth)


def test_the_circles_of_a_moved_frame_contain_its_old_ones():
    moved = point(1, place(AUGSBURG, 0.5), place(MUNICH, 0.4))
    smooth = smooth_track(track(point(0, place(MUNICH, 0.9)), moved, point(2, place(MUNICH, 0.9))), RULE)
    away_m = 1000.0 * float(haversine_km(np.array(AUGSBURG), np.array(MUNICH)))
    found = smooth.points[1]
    assert (found.lat_deg, found.lon_deg) == MUNICH
    assert found.radius50_m == pytest.approx(2000.0 + away_m)
    assert found.radius95_m == pytest.approx(9000.0 + away_m)
    assert found.confidence == 0.4
    assert smooth.points[0] == point(0, place(MUNICH, 0.9))


def test_a_frame_that_the_path_contradicts_abstains():
    wild = point(1, place(SYDNEY, 0.5), place(MUNICH, 0.3))
    smooth = smooth_track(track(point(0, place(MUNICH, 0.9)), wild, point(2, place(MUNICH, 0.9))), RULE)
    assert smooth.points[1].status == "abstained"
    assert smooth.points[1].candidates == ()
    assert "the plausible path passes far" in smooth.points[1].abstain_reason


def test_a_cut_is_a_leap_and_not_a_mistake():
    here = [point(number, place(MUNICH, 0.95), place(SYDNEY, 0.001)) for number in range(3)]
    there = [point(number, place(SYDNEY, 0.95), place(MUNICH, 0.001)) for number in range(3, 6)]
    smooth = smooth_track(track(*here, *there), RULE)
    assert smooth.points == (*here, *there)


def test_a_pause_gives_time_to_travel():
    """Sixty kilometres in a minute are no path of 100 km/h, in an hour they are."""
    first, last = place(MUNICH, 0.9), (place(AUGSBURG, 0.5), place(MUNICH, 0.2))
    for elapsed_s, expected in ((60.0, 1), (3600.0, 0)):
        assert decode_path([[first], last], np.array([0.0, elapsed_s]), RULE) == [0, expected]


def test_nothing_is_odd_at_the_antimeridian():
    east, west = (-17.0, 179.999), (-17.0, -179.999)
    frames = [[place(east, 0.6), place(MUNICH, 0.4)], [place(west, 0.6), place(MUNICH, 0.4)]]
    assert decode_path(frames, np.array([0.0, 1.0]), RULE) == [0, 0]


def test_abstained_frames_stay_silent_and_an_empty_track_stays_empty():
    silent = TrackPoint(1, 1.0, "abstained", abstain_reason="too uncertain")
    smooth = smooth_track(track(point(0, place(MUNICH, 0.9)), silent, point(2, place(MUNICH, 0.9))), RULE)
    assert smooth.points[1] == silent
    assert smooth_track(track(silent), RULE).points == (silent,)


def test_the_limits_are_those_of_the_model():
    measured = UncertaintyRule(20.0, 100.0, 1.0, 500.0, 1000.0, (), (10.0,), (100.0,))
    assert path_rule(measured, 90.0) == PathRule(90.0, 100.0, math.inf, 1000.0)
    assert path_rule(UncalibratedRule(20.0, 25.0), 90.0) == PathRule(90.0, 25.0, 2500.0, math.inf)
