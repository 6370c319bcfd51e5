from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from vidtag_cli.track import TimeBasis, Track, TrackPoint
from vidtag_cli.writers.geojson import render_geojson

START = datetime(2024, 5, 17, 9, 30, tzinfo=UTC)


def track(latlons, timed=True):
    points = tuple(
        TrackPoint(10 + k, k * 1.0, "abstained", abstain_reason="flat \x00")
        if latlon is None
        else TrackPoint(10 + k, k * 1.0, "ok", *latlon, radius50_m=10.04, radius95_m=90.0, confidence=0.123456)
        for k, latlon in enumerate(latlons)
    )
    return Track("clip", points, "flyover", TimeBasis("user", START) if timed else TimeBasis(), "viterbi")


def document(track_, shape="point"):
    return json.loads(render_geojson(track_, shape))


def test_a_feature_has_the_named_properties_and_six_decimals():
    feature = document(track([(1.23456789, -2.00000049)]))["features"][0]
    assert feature == {
        "type": "Feature",
        "id": "frame-10",
        "geometry": {"type": "Point", "coordinates": [-2.0, 1.234568]},
        "properties": {
            "frame": 10,
            "media_time_s": 0.0,
            "time": "2024-05-17T09:30:00.000Z",
            "radius50_m": 10.0,
            "radius95_m": 90.0,
            "confidence": 0.1235,
            "shot": 0,
            "status": "ok",
        },
    }


def test_an_abstention_is_a_feature_without_geometry_that_says_why():
    feature = document(track([(1.0, 2.0), None]))["features"][1]
    assert feature["geometry"] is None
    assert feature["properties"]["status"] == "abstained"
    assert feature["properties"]["abstain_reason"] == "flat \ufffd"


def test_the_method_is_named():
    about = document(track([(1.0, 2.0), None]))["vidtag"]
    assert (about["model"], about["smoothing"], about["frames"], about["located"]) == ("flyover", "viterbi", 2, 1)
    assert about["limitations"][0].startswith("Estimate from image content")


def test_the_box_of_a_track_across_180_has_west_greater_than_east():
    fiji = [(-17.0, 179.8), (-17.2, 179.98), (-17.4, -179.9)]
    assert document(track(fiji))["bbox"] == [179.8, -17.4, -179.9, -17.0]


def test_the_box_of_a_track_elsewhere():
    assert document(track([(48.0, 2.0), (49.0, 1.0)]))["bbox"] == [1.0, 48.0, 2.0, 49.0]


def test_numpy_numbers_are_written_as_numbers():
    point = TrackPoint(
        np.int64(3),
        np.float64(0.1),
        "ok",
        np.float64(1.0),
        np.float64(2.0),
        np.float32(5.0),
        np.float32(6.0),
        np.float32(0.5),
    )
    properties = document(Track("clip", (point,), "flyover"))["features"][0]["properties"]
    assert (properties["frame"], properties["radius95_m"], properties["confidence"]) == (3, 6.0, 0.5)


class TestLine:
    def test_it_is_cut_at_180_with_a_computed_point_that_is_no_estimate(self):
        feature = document(track([(-17.0, 179.5), (-17.0, -179.5)]), "line")["features"][0]
        (east, west) = feature["geometry"]["coordinates"]
        assert feature["geometry"]["type"] == "MultiLineString"
        assert east[0] == [179.5, -17.0] and west[1] == [-179.5, -17.0]
        assert east[1][0] == 180.0 and west[0][0] == -180.0
        # The great circle bulges towards the pole between two points of one latitude.
        assert east[1][1] == west[0][1] < -17.0
        beside = feature["properties"]["coordinateProperties"]
        assert beside["frame"] == [[10, None], [None, 11]]
        assert beside["times"] == [["2024-05-17T09:30:00.000Z", None], [None, "2024-05-17T09:30:01.000Z"]]

    def test_an_estimate_on_180_is_an_estimate_once(self):
        latlons = [(0.0, 179.9), (0.0, -180.0), (0.0, -179.9)]
        beside = document(track(latlons), "line")["features"][0]["properties"]["coordinateProperties"]
        frames = [frame for row in beside["frame"] for frame in row if frame is not None]
        assert frames == [10, 11, 12]

    @pytest.mark.parametrize("seed", range(20))
    def test_every_vertex_has_its_own_frame(self, seed):
        random = np.random.default_rng(seed)
        steps = random.uniform(-60.0, 60.0, (40, 2)) * [0.5, 1.0]
        lat = np.clip(np.cumsum(steps[:, 0]), -89.0, 89.0)
        lon = (np.cumsum(steps[:, 1]) + 180.0) % 360.0 - 180.0
        feature = document(track(list(zip(lat.tolist(), lon.tolist(), strict=True))), "line")["features"][0]
        frames = feature["properties"]["coordinateProperties"]["frame"]
        seen = {}
        for line, row in zip(feature["geometry"]["coordinates"], frames, strict=True):
            assert len(line) == len(row)
            assert max(abs(a[0] - b[0]) for a, b in zip(line[:-1], line[1:], strict=True)) <= 180.0
            seen |= {frame - 10: vertex for frame, vertex in zip(row, line, strict=True) if frame is not None}
        assert sorted(seen) == list(range(40))
        for k, (vertex_lon, vertex_lat) in seen.items():
            assert (vertex_lat, vertex_lon) == (pytest.approx(lat[k], abs=1e-6), pytest.approx(lon[k], abs=1e-6))

    def test_an_abstention_cuts_and_a_lone_estimate_is_listed(self):
        feature = document(track([(0.0, 0.0), (0.0, 1.0), None, (0.0, 2.0), None, (0.0, 3.0), (0.0, 4.0)]), "line")
        feature = feature["features"][0]
        lines = [[[0.0, 0.0], [1.0, 0.0]], [[2.0, 0.0], [2.0, 0.0]], [[3.0, 0.0], [4.0, 0.0]]]
        assert feature["geometry"]["coordinates"] == lines
        assert feature["properties"]["frames_without_line"] == [13]
        beside = feature["properties"]["coordinateProperties"]
        assert beside["frame"] == [[10, 11], [13, None], [15, 16]]
        assert beside["radius50_m"][1] == [10.0, None]

    def test_the_box_holds_the_computed_crossing(self):
        """Between two points of one latitude the great circle bulges towards the pole."""
        box = document(track([(60.0, 170.0), (60.0, -170.0)]), "line")["bbox"]
        assert (box[0], box[1], box[2]) == (170.0, 60.0, -170.0)
        assert 60.3 < box[3] < 60.4

    @pytest.mark.parametrize("latlons", [[], [None]])
    def test_no_line_is_no_geometry(self, latlons):
        assert document(track(latlons), "line")["features"][0]["geometry"] is None

    def test_there_are_no_times_without_a_basis(self):
        feature = document(track([(0.0, 0.0), (0.0, 1.0)], timed=False), "line")["features"][0]
        assert "times" not in feature["properties"]["coordinateProperties"]
