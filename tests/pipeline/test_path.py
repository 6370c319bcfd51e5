"""One plausible path: the likeliest one that a camera could have taken, and circles that stay honest."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from vidtag_cli.geo.sphere import destination_latlon, haversine_km
from vidtag_cli.pipeline.calibration import MeasuredPath, RadiusTable, UncalibratedRule, UncertaintyRule
from vidtag_cli.pipeline.path import (
    JUMP_NATS,
    MAX_SPEED_KM_H,
    PathRule,
    SearchedPoints,
    decode_path,
    path_rule,
    plausible_speed_km_h,
    smooth_track,
)
from vidtag_cli.track import Candidate, Track, TrackPoint, check_track

RULE = PathRule(
    max_speed_km_h=100.0, doubt_km=2.0, place_radius_km=1.0, max_radius50_km=math.inf, max_radius95_km=500.0, step_s=1.0
)
GALLERY = np.array([(48.14, 11.58), (48.37, 10.90), (-33.87, 151.21), (48.141, 11.581)])
MUNICH, AUGSBURG, SYDNEY, SCHWABING = range(4)
RADII = RadiusTable((0.01, 0.4), (1.0, 2.0, 3.0), (10.0, 20.0, 900.0))


def frame(number, *places, status="ok", time_s=None):
    """Return a point as it was estimated by itself, with what was searched: (gallery index, mass), best first."""
    best = GALLERY[places[0][0]]
    when = float(number) if time_s is None else time_s
    if status == "abstained":
        return TrackPoint(number, when, "abstained", abstain_reason="too uncertain"), places
    candidates = tuple(Candidate(*GALLERY[index], score=mass, probability=mass) for index, mass in places)
    return TrackPoint(number, when, "ok", *best, 2000.0, 9000.0, places[0][1], candidates), places


def smooth(*frames, rule=RULE, is_known=None, agrees=None, top_k=5):
    track = Track("clip.mp4", tuple(point for point, _ in frames), "model")
    indices, masses = (np.array([[place[field] for place in places] for _, places in frames]) for field in (0, 1))
    known, agreeing = (np.array([True] * len(frames) if flags is None else flags) for flags in (is_known, agrees))
    masses = masses.astype(np.float32)
    searched = SearchedPoints(indices.astype(np.int32), masses, masses, known, agreeing)
    found = smooth_track(track, searched, GALLERY, rule, top_k)
    check_track(found)
    return found


def positions(track):
    return [(point.lat_deg, point.lon_deg) for point in track.points]


def cost_of(path, latlon, masses, times_s, rule):
    total = 0.0
    for t, index in enumerate(path):
        total -= math.log(masses[t, index])
        if t:
            far_km = float(haversine_km(latlon[t - 1, path[t - 1]], latlon[t, index]))
            reach_km = rule.max_speed_km_h * (times_s[t] - times_s[t - 1]) / 3600.0 + rule.doubt_km
            total += min(max((far_km - reach_km) / rule.doubt_km, 0.0), JUMP_NATS)
    return total


def random_clip(rng):
    times_s = np.cumsum(rng.uniform(0.5, 90.0, 5))
    near = GALLERY[MUNICH] + rng.normal(0.0, 0.05, (5, 4, 2))
    far = np.stack([rng.uniform(-60, 60, (5, 4)), rng.uniform(-180, 180, (5, 4))], -1)
    return np.where(rng.random((5, 4, 1)) < 0.6, near, far), rng.dirichlet(np.ones(4), 5), times_s


def test_no_other_path_is_cheaper():
    """Against every one of the 4^5 paths, for twenty clips of random places near and far."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        latlon, masses, times_s = random_clip(rng)
        costs = {path: cost_of(path, latlon, masses, times_s, RULE) for path in itertools.product(range(4), repeat=5)}
        found = tuple(decode_path(latlon, masses, times_s, RULE).point_index)
        assert costs[found] == pytest.approx(min(costs.values()))


def test_the_doubt_is_the_share_of_all_paths_that_pass_elsewhere():
    """Against the sum over every one of the 4^5 paths."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        latlon, masses, times_s = random_clip(rng)
        path = decode_path(latlon, masses, times_s, RULE)
        elsewhere, total = np.zeros(5), 0.0
        for other in itertools.product(range(4), repeat=5):
            weight = math.exp(-cost_of(other, latlon, masses, times_s, RULE))
            total += weight
            for t in range(5):
                far_km = haversine_km(latlon[t, path.point_index[t]], latlon[t, other[t]])
                elsewhere[t] += weight * (far_km > RULE.place_radius_km)
        np.testing.assert_allclose(path.doubt, elsewhere / total, rtol=1e-9, atol=1e-12)


def test_one_wild_frame_gives_way_to_its_neighbours():
    calm = [frame(number, (MUNICH, 0.6), (SYDNEY, 0.1)) for number in (0, 2, 3)]
    wild = frame(1, (SYDNEY, 0.5), (SCHWABING, 0.3))
    rule = PathRule(100.0, 2.0, 1.0, math.inf, math.inf, 1.0)
    found = smooth(calm[0], wild, *calm[1:], rule=rule)
    assert positions(found) == [tuple(GALLERY[index]) for index in (MUNICH, SCHWABING, MUNICH, MUNICH)]
    assert found.smoothing == "viterbi (at most 100 km/h)"


def test_without_measured_circles_those_of_a_moved_frame_contain_its_old_ones():
    calm, moved = [(MUNICH, 0.9), (SYDNEY, 0.01)], frame(1, (AUGSBURG, 0.5), (MUNICH, 0.4))
    found = smooth(frame(0, *calm), moved, frame(2, *calm))
    away_m = 1000.0 * float(haversine_km(GALLERY[AUGSBURG], GALLERY[MUNICH]))
    point = found.points[1]
    assert (point.lat_deg, point.lon_deg) == tuple(GALLERY[MUNICH])
    assert point.radius50_m == pytest.approx(2000.0 + away_m)
    assert point.radius95_m == pytest.approx(9000.0 + away_m)
    assert point.confidence == pytest.approx(0.4)
    assert [(place.lat_deg, place.lon_deg) for place in point.candidates] == [
        tuple(GALLERY[MUNICH]), tuple(GALLERY[AUGSBURG])
    ]  # fmt: skip
    assert found.points[0] == frame(0, *calm)[0]


def test_a_frame_that_the_path_contradicts_abstains():
    calm = [(MUNICH, 0.9), (AUGSBURG, 0.01)]
    found = smooth(frame(0, *calm), frame(1, (SYDNEY, 0.5), (MUNICH, 0.3)), frame(2, *calm))
    assert found.points[1].status == "abstained"
    assert found.points[1].candidates == ()
    assert "the plausible path passes far" in found.points[1].abstain_reason


def test_a_cut_is_a_leap_and_not_a_mistake():
    here = [frame(number, (MUNICH, 0.95), (SYDNEY, 0.001)) for number in range(3)]
    there = [frame(number, (SYDNEY, 0.95), (MUNICH, 0.001)) for number in range(3, 6)]
    assert smooth(*here, *there).points == tuple(point for point, _ in (*here, *there))


def test_a_pause_gives_time_to_travel():
    """Sixty kilometres in a minute are no path of 100 km/h, in an hour they are."""
    latlon = GALLERY[[[MUNICH, MUNICH], [AUGSBURG, MUNICH]]]
    masses = np.array([[0.9, 0.01], [0.5, 0.2]])
    for elapsed_s, expected in ((60.0, 1), (3600.0, 0)):
        assert decode_path(latlon, masses, np.array([0.0, elapsed_s]), RULE).point_index[1] == expected


def test_nothing_is_odd_at_the_antimeridian():
    latlon = np.array([[(-17.0, 179.999), (48.14, 11.58)], [(-17.0, -179.999), (48.14, 11.58)]])
    assert decode_path(latlon, np.array([[0.6, 0.4]] * 2), np.array([0.0, 1.0]), RULE).point_index.tolist() == [0, 0]


def test_measured_circles_go_by_the_doubt():
    """Sure frames get the first bin; one whose paths are divided gets a later one, and its confidence says so."""
    rule = PathRule(100.0, 2.0, 1.0, math.inf, 500.0, 1.0, RADII)
    sure = [frame(number, (MUNICH, 0.99), (SYDNEY, 1e-6)) for number in range(4)]
    divided = [frame(0, (MUNICH, 0.55), (SYDNEY, 0.45))]
    for point in smooth(*sure, rule=rule).points:
        assert (point.radius50_m, point.radius95_m) == (1000.0, 10000.0)
        assert point.confidence > 0.99
    (point,) = smooth(*divided, rule=rule).points
    assert (point.status, point.lat_deg) == ("abstained", None)
    assert point.abstain_reason == "too uncertain on a path (95 % radius 900 km, limit 500 km)"


def test_a_circle_as_wide_as_the_limit_is_given():
    sure = [frame(number, (MUNICH, 0.99), (SYDNEY, 1e-6)) for number in range(3)]
    for limit_km, status in ((10.0, "ok"), (9.99, "abstained")):
        rule = PathRule(100.0, 2.0, 1.0, math.inf, limit_km, 1.0, RADII)
        assert {point.status for point in smooth(*sure, rule=rule).points} == {status}


def test_a_moved_frame_abstains_beyond_either_limit_and_not_at_it():
    """Half of the old circle and the way to the new place; the same of the wide one."""
    calm, moved = [(MUNICH, 0.9), (SYDNEY, 0.01)], frame(1, (AUGSBURG, 0.5), (MUNICH, 0.4))
    away_km = float(haversine_km(GALLERY[AUGSBURG], GALLERY[MUNICH]))
    for more50_km, more95_km, status in ((0.01, 0.01, "ok"), (-0.01, 1.0, "abstained"), (1.0, -0.01, "abstained")):
        rule = PathRule(100.0, 2.0, 1.0, 2.0 + away_km + more50_km, 9.0 + away_km + more95_km, 1.0)
        found = smooth(frame(0, *calm), moved, frame(2, *calm), rule=rule)
        assert [point.status for point in found.points] == ["ok", status, "ok"]


def test_a_place_that_most_paths_avoid_is_no_answer():
    """However wide the circles of its bin may be: here no limit of the model's own would have stopped it."""
    rule = PathRule(100.0, 2.0, 1.0, math.inf, math.inf, 1.0, RadiusTable((), (1.0,), (2.0,)))
    (point,) = smooth(frame(0, (MUNICH, 0.4), (SYDNEY, 0.3), (AUGSBURG, 0.3)), rule=rule).points
    assert point.status == "abstained"
    assert point.abstain_reason == "too uncertain on a path (60% of all paths pass elsewhere)"
    assert smooth(frame(0, (MUNICH, 0.55), (SYDNEY, 0.45)), rule=rule).points[0].status == "ok"


def test_a_second_of_video_says_as_much_however_many_of_its_frames_are_taken():
    """Five frames a second that all show the same are no surer than one."""
    rule = PathRule(100.0, 2.0, 1.0, math.inf, 500.0, 1.0, RADII)
    places = [(MUNICH, 0.6), (SYDNEY, 0.3)]
    once = smooth(*(frame(number, *places) for number in range(4)), rule=rule)
    dense = smooth(*(frame(number, *places, time_s=number / 5) for number in range(20)), rule=rule)
    leaps = 20 * math.exp(-JUMP_NATS)  # paths may leap at every step, and there are more of them
    assert dense.points[10].confidence == pytest.approx(once.points[2].confidence, abs=leaps)
    assert once.points[2].confidence < 0.95
    assert smooth(*(frame(number, *places) for number in range(20)), rule=rule).points[10].confidence > 0.99


def test_a_path_can_speak_for_a_frame_that_was_silent_only_where_that_was_measured():
    neighbours = [frame(number, (MUNICH, 0.9), (SYDNEY, 1e-6)) for number in (0, 2)]
    silent = frame(1, (SYDNEY, 0.3), (MUNICH, 0.2), status="abstained")
    clip = (neighbours[0], silent, neighbours[1])
    measured = smooth(*clip, rule=PathRule(100.0, 2.0, 1.0, math.inf, 500.0, 1.0, RADII))
    assert positions(measured)[1] == tuple(GALLERY[MUNICH])
    assert smooth(*clip).points[1] == silent[0]


def test_a_path_does_not_overrule_frames_that_disagree():
    """A clip of another kind may look alike in all frames: their paths are sure of a place by counting it often."""
    rule = PathRule(100.0, 2.0, 1.0, math.inf, 500.0, 1.0, RADII)
    silent = [frame(number, (MUNICH, 0.9), (SYDNEY, 1e-6), status="abstained") for number in range(3)]
    found = smooth(*silent, rule=rule, agrees=[True, False, True])
    assert [point.status for point in found.points] == ["ok", "abstained", "ok"]
    assert found.points[1] == silent[1][0]


def test_strange_frames_take_no_part():
    strange = frame(1, (SYDNEY, 0.99), (MUNICH, 1e-6), status="abstained")
    clip = (frame(0, (MUNICH, 0.9), (SYDNEY, 1e-6)), strange, frame(2, (MUNICH, 0.9), (SYDNEY, 1e-6)))
    found = smooth(*clip, rule=PathRule(100.0, 2.0, 1.0, math.inf, 500.0, 1.0, RADII), is_known=[True, False, True])
    assert found.points[1] == strange[0]
    assert found.points[0].confidence > 0.999
    nothing = smooth(strange, is_known=[False])
    assert nothing.points == (strange[0],)


def test_as_many_candidates_as_were_asked_for():
    places = [(MUNICH, 0.6), (SYDNEY, 0.3), (AUGSBURG, 0.1)]
    rule = PathRule(100.0, 2.0, 1.0, math.inf, math.inf, 1.0, RadiusTable((), (1.0,), (2.0,)))
    for top_k, expected in ((1, 1), (2, 2), (5, 3)):
        assert len(smooth(frame(0, *places), rule=rule, top_k=top_k).points[0].candidates) == expected


def test_a_thousand_places_far_apart_stay_finite():
    rng = np.random.default_rng(2)
    start = np.broadcast_to(GALLERY[MUNICH], (200, 30, 2))
    latlon = destination_latlon(start, rng.uniform(0.0, 360.0, (200, 30)), rng.uniform(0.0, 9000.0, (200, 30)))
    path = decode_path(latlon, np.full((200, 30), 1e-9), np.arange(200.0), RULE)
    assert np.isfinite(path.doubt).all()
    assert ((path.doubt >= 0.0) & (path.doubt <= 1.0)).all()


def test_the_limits_are_those_of_the_model():
    radii = RadiusTable((), (10.0,), (100.0,))
    measured = UncertaintyRule(20.0, 100.0, 1.0, 500.0, 1000.0, radii)
    assert path_rule(measured, 90.0, 1.0) == PathRule(90.0, 100.0, 100.0, math.inf, 1000.0, 1.0)
    assert path_rule(UncalibratedRule(20.0, 25.0), 90.0, 2.0) == PathRule(90.0, 25.0, 25.0, 2500.0, math.inf, 2.0)
    assert plausible_speed_km_h(measured) == plausible_speed_km_h(UncalibratedRule(20.0, 25.0)) == MAX_SPEED_KM_H


def test_measured_circles_hold_at_the_speed_they_were_measured_at_alone():
    path = MeasuredPath(600.0, 30.0, 14.0, RADII)
    rule = UncertaintyRule(20.0, 100.0, 1.0, 500.0, 1000.0, RadiusTable((), (10.0,), (100.0,)), path)
    assert plausible_speed_km_h(rule) == 600.0
    assert path_rule(rule, 600.0, 1.0) == PathRule(600.0, 30.0, 100.0, math.inf, 1000.0, 1.0, RADII)
    assert path_rule(rule, 90.0, 1.0) == PathRule(90.0, 30.0, 100.0, math.inf, 1000.0, 1.0)


def test_every_shot_has_a_path_of_its_own():
    """Two frames that leave open where they are: after a cut nothing holds them where the camera was before."""
    scene = [(MUNICH, 0.9), (SYDNEY, 0.1)]
    open_scene = [(SYDNEY, 0.6), (MUNICH, 0.4)]
    points = [frame(0, *scene), frame(1, *scene), frame(2, *open_scene), frame(3, *open_scene)]
    anywhere = dataclasses.replace(RULE, max_radius95_km=math.inf)
    assert positions(smooth(*points, rule=anywhere)) == [tuple(GALLERY[MUNICH])] * 4
    cut = [(dataclasses.replace(point, shot=int(point.frame_index >= 2)), places) for point, places in points]
    found = smooth(*cut, rule=anywhere)
    assert positions(found) == [tuple(GALLERY[MUNICH])] * 2 + [tuple(GALLERY[SYDNEY])] * 2
    assert [point.shot for point in found.points] == [0, 0, 1, 1]


def test_a_held_picture_is_one_step_of_the_path_however_many_frames_show_it():
    """A hundred frames of a divided picture do not outvote it, nor does the path grow sure by their number."""
    rule = dataclasses.replace(RULE, max_radius95_km=math.inf, radii=RADII)
    divided = [(MUNICH, 0.55), (SYDNEY, 0.35)]
    (alone,) = smooth(frame(0, *divided), rule=rule).points
    for count, pace_s in ((30, 1.0), (150, 0.2), (750, 0.04)):
        frames = [frame(number, *divided, time_s=number * pace_s) for number in range(count)]
        held = [
            (dataclasses.replace(point, repeats_frame=0 if point.frame_index else None), places)
            for point, places in frames
        ]
        for point in smooth(*held, rule=rule).points:
            assert point.confidence == pytest.approx(alone.confidence)
            assert (point.radius95_m, point.candidates) == (alone.radius95_m, alone.candidates)


def test_a_pause_on_a_picture_gives_no_time_to_travel():
    """A minute of one picture, then another a second later: the camera stood still until its last frame."""
    held = [
        (dataclasses.replace(point, repeats_frame=0 if point.frame_index else None), places)
        for point, places in (frame(n, (MUNICH, 0.99), (SYDNEY, 1e-6), time_s=120.0 * n) for n in range(60))
    ]
    fast = frame(60, (AUGSBURG, 0.4), (SCHWABING, 0.3), time_s=held[-1][0].media_time_s + 1.0)
    anywhere = dataclasses.replace(RULE, max_radius95_km=math.inf)
    assert positions(smooth(*held, fast, rule=anywhere))[-1] == tuple(GALLERY[SCHWABING])


def test_on_a_measured_path_the_confidence_is_the_probability_of_the_first_candidate():
    """It was 1 - doubt beside a candidate with the frame's own mass: two numbers for one thing."""
    rule = dataclasses.replace(RULE, radii=RADII)
    frames = [frame(number, (SYDNEY, 0.5), (MUNICH, 0.4), (AUGSBURG, 0.1)) for number in range(3)]
    frames[1] = frame(1, (MUNICH, 0.9), (SYDNEY, 0.02), (AUGSBURG, 0.01))
    for point in smooth(*frames, rule=dataclasses.replace(rule, max_radius95_km=math.inf)).points:
        probabilities = [place.probability for place in point.candidates]
        assert point.confidence == probabilities[0]
        assert sum(probabilities) == pytest.approx(1.0)
        assert probabilities[1:] == sorted(probabilities[1:], reverse=True)
        assert (point.lat_deg, point.lon_deg) == tuple(GALLERY[MUNICH])
        assert point.confidence > 0.85
