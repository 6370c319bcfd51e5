"""The answer for a video: what its frames say together, never surer by their number, and every share accounted for."""

import dataclasses
import math

import numpy as np
import pytest

from vidtag_cli.geo.sphere import destination_latlon, haversine_km
from vidtag_cli.pipeline.answer import answer_for, with_answer
from vidtag_cli.track import Candidate, Track, TrackPoint

ZAGREB, SYDNEY, ATLANTIC = (45.8, 16.0), (-33.87, 151.0), (30.0, -40.0)
PLACE_KM = 100.0


def ok(number, *places, radius_km=80.0, shot=0, repeats=None, time_s=None):
    """Return a located frame with candidates ((lat, lon), probability), the position first."""
    candidates = tuple(Candidate(*place, 0.5, probability) for place, probability in places)
    first = candidates[0]
    return TrackPoint(
        number, float(number) if time_s is None else time_s, "ok", first.lat_deg, first.lon_deg,
        400.0 * radius_km, 1000.0 * radius_km, first.probability, candidates, shot=shot, repeats_frame=repeats,
    )  # fmt: skip


def silent(number, reason="too uncertain (95 % radius 700 km, limit 500 km)", **changes):
    return TrackPoint(number, float(number), "abstained", abstain_reason=reason, **changes)


def answer(*points, frames_a_step=1):
    found = answer_for(points, frames_a_step, PLACE_KM)
    total = sum(area.share for area in found.areas) + found.elsewhere + found.cannot_say
    assert total == pytest.approx(1.0)
    assert sum(share for _, share in found.reasons) == pytest.approx(found.cannot_say)
    assert [area.share for area in found.areas] == sorted((area.share for area in found.areas), reverse=True)
    return found


def test_one_frame_is_its_own_answer():
    found = answer(ok(3, (ZAGREB, 0.7), (SYDNEY, 0.2)))
    home, far = found.areas
    assert (home.lat_deg, home.lon_deg) == pytest.approx(ZAGREB)
    assert (home.share, home.radius95_m) == pytest.approx((0.7, 80_000.0))
    assert home.place == "Croatia (Europe)"
    assert [dataclasses.astuple(span) for span in home.spans] == [(3, 3, 3.0, 3.0, 1)]
    assert (far.share, far.radius95_m, far.spans) == (pytest.approx(0.2), 1000.0 * PLACE_KM, ())
    assert "Australia" in far.place
    assert found.elsewhere == pytest.approx(0.1)


def test_frames_that_say_the_same_are_no_surer_than_one():
    """A product of their probabilities would be 1 - 1e-30."""
    one = answer(ok(0, (ZAGREB, 0.6), (SYDNEY, 0.3)))
    many = answer(*(ok(number, (ZAGREB, 0.6), (SYDNEY, 0.3)) for number in range(100)))
    for area, other in zip(one.areas, many.areas, strict=True):
        assert (area.share, area.radius95_m) == pytest.approx((other.share, other.radius95_m))
    assert many.counted == pytest.approx(100.0)


@pytest.mark.parametrize("rate", [1, 5, 25])
def test_a_still_beside_other_frames_counts_once_at_any_rate(rate):
    held = [ok(n, (ZAGREB, 1.0), repeats=0 if n else None, time_s=n / rate) for n in range(30 * rate)]
    others = [ok(30 * rate + n, (SYDNEY, 1.0), time_s=30.0 + n / rate) for n in range(3 * rate)]
    track = with_answer(Track("clip", (*held, *others), "model"), 1.0, PLACE_KM)
    sydney, zagreb = track.answer.areas
    assert (sydney.share, zagreb.share) == (pytest.approx(0.75), pytest.approx(0.25))
    assert track.answer.counted == pytest.approx(4.0)


def test_frames_that_abstained_keep_their_share():
    frames = [silent(0), silent(1, "frames disagree (median distance 800 km, limit 500 km)"), silent(2)]
    found = answer(*frames, ok(3, (ZAGREB, 0.8)))
    assert found.cannot_say == pytest.approx(0.75)
    assert found.reasons == (("too uncertain", 0.5), ("frames disagree", 0.25))
    assert found.areas[0].share == pytest.approx(0.2)
    assert answer(*frames).areas == ()
    assert answer_for([], 1, PLACE_KM).cannot_say == 1.0


def test_a_flight_is_one_area_whose_circle_holds_its_frames():
    """Steps of 150 km, more than a place, whose 50 % circles touch: a chain along the track."""
    start = np.array(ZAGREB)
    flight = [ok(n, (tuple(destination_latlon(start, 90.0, 150.0 * n)), 0.9), radius_km=200.0) for n in range(9)]
    (area,) = answer(*flight).areas
    assert area.share == pytest.approx(0.9)
    assert [span.frames for span in area.spans] == [9]
    centre = np.array([area.lat_deg, area.lon_deg])
    for point in flight:
        away_km = float(haversine_km(centre, np.array([point.lat_deg, point.lon_deg])))
        assert away_km + 200.0 <= area.radius95_m / 1000.0 + 1e-6
    cut = [dataclasses.replace(point, shot=point.frame_index // 3) for point in flight]
    assert len(answer(*cut).areas) == 3


def test_places_far_apart_are_areas_of_their_own_and_spans_break_at_gaps():
    found = answer(
        ok(0, (ZAGREB, 0.9)), ok(1, (ZAGREB, 0.9)), ok(2, (SYDNEY, 0.9)), silent(3), ok(4, (ZAGREB, 0.9)),
        ok(5, (ZAGREB, 0.9), shot=1),
    )  # fmt: skip
    home, far = found.areas
    assert [(span.first_frame, span.last_frame, span.frames) for span in home.spans] == [
        (0, 1, 2),
        (4, 4, 1),
        (5, 5, 1),
    ]
    assert [span.first_frame for span in far.spans] == [2]


def test_a_candidate_near_a_position_strengthens_that_area():
    near = tuple(destination_latlon(np.array(ZAGREB), 0.0, 60.0))
    home, far = answer(ok(0, (ZAGREB, 0.6), (SYDNEY, 0.3)), ok(1, (SYDNEY, 0.5), (near, 0.4))).areas
    assert (home.share, far.share) == (pytest.approx(0.5), pytest.approx(0.4))
    assert [span.first_frame for span in home.spans] == [0]


def test_nothing_is_odd_at_the_antimeridian_at_a_pole_and_at_sea():
    east, west = (-17.0, 179.9), (-17.0, -179.9)
    (fiji,) = answer(ok(0, (east, 0.9)), ok(1, (west, 0.9))).areas
    assert abs(fiji.lon_deg) > 179.8 and fiji.radius95_m < 100_000.0
    (pole,) = answer(ok(0, ((89.9, 0.0), 0.9)), ok(1, ((89.9, 180.0 - 360.0), 0.9))).areas
    assert pole.lat_deg > 89.9
    (sea,) = answer(ok(0, (ATLANTIC, 0.9))).areas
    assert sea.place == "at sea (open sea)"
    opposite = [((0.0, 0.0), 0.5), ((0.0, -180.0), 0.5)]
    assert len(answer(ok(0, *opposite, radius_km=20000.0)).areas) == 2


def test_an_area_is_no_larger_than_the_globe():
    points = [ok(n, ((0.0, 10.0 * n), 1.0), radius_km=20000.0) for n in range(18)]
    (area,) = answer(*points).areas
    assert area.radius95_m <= 1000.0 * math.pi * 6371.0088


def test_every_shot_has_an_answer_of_its_own():
    track = Track("clip", (ok(0, (ZAGREB, 0.9)), silent(1), ok(2, (SYDNEY, 0.8), shot=1)), "model")
    first, second = with_answer(track, 1.0, PLACE_KM).shot_answers
    assert (first.shot, second.shot) == (0, 1)
    assert (first.cannot_say, second.cannot_say) == (pytest.approx(0.5), 0.0)
    assert "Australia" in second.areas[0].place
