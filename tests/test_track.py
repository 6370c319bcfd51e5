"""The result of a run: its spans, its instants, and what no writer may be handed."""

import dataclasses
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest

from vidtag_cli.pipeline.report import point_record
from vidtag_cli.track import Candidate, TimeBasis, Track, TrackPoint, check_track, to_millisecond
from vidtag_cli.writers.formats import FORMATS, render_track

START = datetime(2024, 5, 17, 9, 30, 5, tzinfo=UTC)


def located(number, time_s, shot=0, **changes):
    point = TrackPoint(number, time_s, "ok", 48.0, 11.0, 1000.0, 5000.0, 0.5, shot=shot)
    return dataclasses.replace(point, **changes)


def silent(number, time_s, shot=0):
    return TrackPoint(number, time_s, "abstained", abstain_reason="too uncertain", shot=shot)


def track_of(*points, start=None):
    return Track("clip.mp4", points, "model", TimeBasis("user", start))


def test_runs_end_at_abstentions_and_cuts():
    points = [located(0, 0.0), located(1, 1.0), silent(2, 2.0), located(3, 3.0), located(4, 4.0, 1), silent(5, 5.0, 1)]
    track = track_of(*points)
    assert [[point.frame_index for point in run] for run in track.runs()] == [[0, 1], [3], [4]]
    assert [point.frame_index for point in track.located()] == [0, 1, 3, 4]


def test_the_first_point_is_at_the_start_and_the_others_by_their_media_time():
    track = track_of(located(0, 7.5), located(1, 9.0), start=START)
    assert [track.time_utc(point) for point in track.points] == [START, START + timedelta(seconds=1.5)]
    assert track_of(located(0, 7.5)).time_utc(located(0, 7.5)) is None


@pytest.mark.parametrize(("microsecond", "expected"), [
    (0, 0), (499, 0), (500, 1000), (33_499, 33_000), (33_500, 34_000), (33_999, 34_000), (999_499, 999_000),
])  # fmt: skip
def test_an_instant_is_rounded_to_the_nearest_millisecond(microsecond, expected):
    assert to_millisecond(START.replace(microsecond=microsecond)) == START.replace(microsecond=expected)


def test_rounding_up_reaches_the_next_second_and_keeps_the_zone():
    local = START.astimezone(timezone(timedelta(hours=3))).replace(microsecond=999_500)
    assert to_millisecond(local) == START + timedelta(seconds=1)
    assert to_millisecond(local).utcoffset() == timedelta(hours=3)


@pytest.mark.parametrize("offset_s", [0.0335, 0.0334999, 0.0339999, 1 / 3, 2 / 3, 0.9995, 1001 / 30000, 59.9999])
def test_one_instant_is_one_millisecond_in_every_output(offset_s):
    """Each format writes its own text of it; none may round, or cut, in a way of its own."""
    track = track_of(located(0, 0.0), located(1, offset_s), start=START + timedelta(microseconds=123_456))
    instant = track.time_utc(track.points[1])
    expected = instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03d}Z"
    assert instant.microsecond % 1000 == 0
    assert point_record(track, track.points[1])["time_utc"] == expected
    for output_format in FORMATS.values():
        assert expected in render_track(track, output_format).decode(), output_format.name


@pytest.mark.parametrize(("points", "message"), [
    ([located(0, 1.0), located(1, 1.0)], "frame 1: media_time_s 1.0 does not follow 1.0"),
    ([located(0, math.nan)], "media_time_s nan"),
    ([located(0, math.inf)], "media_time_s inf"),
    ([located(0, 0.0, 1), located(1, 1.0, 0)], "frame 1: shot 0 does not follow 1"),
    ([located(0, 0.0, -1)], "shot -1"),
    ([dataclasses.replace(silent(0, 0.0), lat_deg=1.0)], "an abstained point has a position"),
    ([dataclasses.replace(silent(0, 0.0), lon_deg=1.0)], "an abstained point has a position"),
    ([located(0, 0.0, lat_deg=90.1)], r"position \(90.1, 11.0\)"),
    ([located(0, 0.0, lat_deg=-90.1)], r"position \(-90.1"),
    ([located(0, 0.0, lat_deg=math.nan)], r"position \(nan"),
    ([located(0, 0.0, lat_deg=None)], r"position \(None"),
    ([located(0, 0.0, lon_deg=None)], "None"),
    ([located(0, 0.0, lon_deg=180.0)], "180.0"),
    ([located(0, 0.0, lon_deg=-180.1)], "-180.1"),
    ([located(0, 0.0, radius50_m=-0.1)], "radius -0.1 m"),
    ([located(0, 0.0, radius95_m=math.nan)], "radius nan m"),
    ([located(0, 0.0, radius95_m=math.inf)], "radius inf m"),
    ([located(0, 0.0, confidence=1.01)], "confidence 1.01"),
    ([located(0, 0.0, confidence=-0.01)], "confidence -0.01"),
    ([located(0, 0.0, confidence=math.nan)], "confidence nan"),
    ([located(0, 0.0, candidates=(Candidate(48.0, 11.0, 0.3, 0.4),))], "0.5 is not the probability of its first"),
])  # fmt: skip
def test_what_no_writer_may_be_handed_is_refused(points, message):
    with pytest.raises(ValueError, match=message):
        check_track(track_of(*points))


def test_what_is_at_the_ends_of_its_range_is_accepted():
    ends = {"radius50_m": 0.0, "radius95_m": None, "confidence": 1.0}
    check_track(
        track_of(
            located(0, -1.0, lat_deg=90.0, lon_deg=-180.0, **ends),
            located(1, 0.0, lat_deg=-90.0, lon_deg=179.999, **{**ends, "confidence": 0.0}),
            silent(2, 0.1),
            silent(3, 0.2, 5),
        )
    )
