from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import numpy as np
import pytest

from vidtag_cli.errors import InputError, UsageError
from vidtag_cli.evaluation.truth import Truth, positions_at, read_truth
from vidtag_cli.geo.sphere import haversine_km

START = datetime(2024, 5, 17, 9, 30, tzinfo=UTC)
GPX_HEAD = '<gpx xmlns="http://www.topografix.com/GPX/1/1" version="1.1" creator="t">\n<trk><trkseg>\n'
GPX_TAIL = "</trkseg></trk></gpx>"
# Microseconds of the clock at the speed of a rocket.
SAME_PLACE_KM = 1e-5


def gpx(*points):
    return GPX_HEAD + "\n".join(points) + GPX_TAIL


def trkpt(lat, lon, time="2024-05-17T09:30:00Z"):
    return f'<trkpt lat="{lat}" lon="{lon}"><time>{time}</time></trkpt>'


def saved(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def media_truth(latlons, instants):
    return Truth("media_time", np.array(instants, dtype=float), np.array(latlons, dtype=float))


def test_a_pipe_is_an_input_error_and_not_a_wait_for_ever(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(InputError, match="regular file"):
        read_truth(tmp_path / "t.csv")


class TestGpx:
    def test_points_of_all_segments_in_utc(self, tmp_path):
        text = gpx(trkpt(1, 2), "</trkseg><trkseg>", trkpt(-17, 180, "2024-05-17T11:30:01.5+02:00"))
        truth = read_truth(saved(tmp_path, "t.gpx", text))
        assert truth.clock == "utc"
        assert (truth.instants - START.timestamp()).tolist() == [0.0, 1.5]
        assert truth.latlon_deg.tolist() == [[1.0, 2.0], [-17.0, -180.0]]

    def test_gpx_1_0_is_read_too(self, tmp_path):
        text = gpx(trkpt(1, 2)).replace("GPX/1/1", "GPX/1/0").replace('"1.1"', '"1.0"')
        assert len(read_truth(saved(tmp_path, "t.GPX", text)).instants) == 1

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (gpx(trkpt(1, 2), '<trkpt lat="1" lon="2"/>'), "line 4: the position has no time"),
            (gpx(trkpt(1, 2), trkpt(1, 2, "2024-05-17T09:30:00")), "line 4: the time .* names no zone"),
            (gpx(trkpt(1, 2), trkpt(1, 2, "noon")), "line 4: 'noon' is not a time"),
            (gpx(trkpt(1, 2), trkpt(1, 2, "2024-05-17T09:29:59Z")), "line 4: the time runs backwards"),
            (gpx(trkpt(95, 2)), r"line 3: latitude 95 is outside"),
            (gpx(trkpt(1, 181)), r"line 3: longitude 181 is outside"),
            (gpx(trkpt("x", 2)), "line 3: latitude 'x' is not a number"),
            (gpx(trkpt("nan", 2)), "line 3: latitude 'nan' is not a number"),
            (gpx('<trkpt lon="2"><time>2024-05-17T09:30:00Z</time></trkpt>'), "line 3: there is no latitude"),
            (gpx(), "holds no position"),
            (GPX_HEAD, "not well-formed XML"),
            ("", "not well-formed XML"),
            ("<kml/>", "root element is 'kml'"),
        ],
    )
    def test_errors_name_the_line(self, tmp_path, text, message):
        with pytest.raises(InputError, match=message) as caught:
            read_truth(saved(tmp_path, "t.gpx", text))
        assert "t.gpx" in str(caught.value)

    def test_entities_are_not_expanded_and_other_files_not_read(self, tmp_path):
        secret = saved(tmp_path, "secret.txt", "1")
        for entity in (f'SYSTEM "{secret.as_uri()}"', '"1"'):
            text = f"<!DOCTYPE gpx [<!ENTITY e {entity}>]>" + gpx(trkpt("1", "2").replace(">2024", ">&e;2024"))
            with pytest.raises(InputError, match="document type declaration"):
                read_truth(saved(tmp_path, "t.gpx", text))


class TestCsv:
    @pytest.mark.parametrize(
        ("text", "clock", "instants"),
        [
            ("offset_s,lat,lon\n0,1,2\n0.5,1,2\n", "media_time", [0.0, 0.5]),
            ("\ufeffLatitude; Longitude; Time_S\r\n1;2;0\r\n1;2;3\r\n", "media_time", [0.0, 3.0]),
            ("lng\tlat\ttime\n2\t1\t1970-01-01T00:00:01Z\n", "utc", [1.0]),
            ("frame,lat,lon\n0,1,2\n\n30,1,2\n", "frame", [0.0, 30.0]),
            ("frame,offset_s,time_utc,lat,lon\n0,0.25,,1,2\n", "media_time", [0.25]),
            ('note,time_s,lat,lon\n"two\nlines, one cell",1,1,2\n', "media_time", [1.0]),
        ],
    )
    def test_columns_are_found_by_name(self, tmp_path, text, clock, instants):
        truth = read_truth(saved(tmp_path, "t.csv", text))
        assert (truth.clock, truth.instants.tolist()) == (clock, instants)
        assert truth.latlon_deg.tolist() == [[1.0, 2.0]] * len(instants)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("time_s,lat,lon\n0,1,2\n1,,2\n", "line 3: there is no latitude"),
            ("time_s,lat,lon\n0,1,2\n1,1\n", "line 3: there is no longitude"),
            ("time_s,lat,lon\n0,1,2\n,1,2\n", "line 3: the position has no time"),
            ("time_s,lat,lon\n0,1,2\nx,1,2\n", "line 3: media time 'x'"),
            ("time_s,lat,lon\n1,1,2\n0,1,2\n", "line 3: the time runs backwards"),
            ("frame,lat,lon\n0.5,1,2\n", "line 2: frame index '0.5'"),
            ("time,lat,lon\n2024-05-17T09:30:00,1,2\n", "line 2: the time .* names no zone"),
            ("time_s,y,lon\n", "line 1: no column of latitude"),
            ("time_s,lat,x\n", "line 1: no column of longitude"),
            ("lat,lon\n1,2\n", "line 1: no column of time"),
            ("time_s,lat,lon\n", "holds no position"),
            ("", "line 1: no column"),
            ('time_s,lat,lon\n0,1,"2\n', "line 2"),
            (b"time_s,lat,lon\n\xff\xfe\n", "not UTF-8"),
        ],
    )
    def test_errors_name_the_line(self, tmp_path, text, message):
        with pytest.raises(InputError, match=message):
            read_truth(saved(tmp_path, "t.csv", text))

    def test_of_fixes_of_one_instant_the_first_counts(self, tmp_path):
        truth = read_truth(saved(tmp_path, "t.csv", "time_s,lat,lon\n0,1,2\n0,9,9\n1,1,3\n"))
        assert truth.latlon_deg.tolist() == [[1.0, 2.0], [1.0, 3.0]]


class TestGeojson:
    def document(self, *features):
        return json.dumps({"type": "FeatureCollection", "features": features})

    def feature(self, lon, lat, **properties):
        return {"type": "Feature", "geometry": {"type": "Point", "coordinates": [lon, lat]}, "properties": properties}

    def test_points_with_times_and_abstentions(self, tmp_path):
        abstained = {"type": "Feature", "geometry": None, "properties": {"media_time_s": 1.0}}
        text = self.document(self.feature(2, 1, media_time_s=0), abstained, self.feature(3, 1, media_time_s=2.5))
        truth = read_truth(saved(tmp_path, "t.geojson", text))
        assert (truth.clock, truth.instants.tolist()) == ("media_time", [0.0, 2.5])
        assert truth.latlon_deg.tolist() == [[1.0, 2.0], [1.0, 3.0]]

    def test_absolute_times(self, tmp_path):
        truth = read_truth(saved(tmp_path, "t.json", self.document(self.feature(2, 1, time="1970-01-01T00:00:02Z"))))
        assert (truth.clock, truth.instants.tolist()) == ("utc", [2.0])

    def test_errors_name_the_feature(self, tmp_path):
        good = self.feature(2, 1, media_time_s=0)
        cases = {
            self.document(good, self.feature(2, 1)): "feature 2: the position has no time",
            self.document(good, self.feature(2, 99, media_time_s=1)): "feature 2: latitude 99",
            self.document(self.feature(2, 1)): "has none of the properties",
            self.document(good, {"type": "LineString", "coordinates": [[2, 1]]}): "feature 2: the position has no time",
            self.document(good, {"type": "Polygon"}): "feature 2: points and lines are read, not 'Polygon'",
            self.document(good, 7): "feature 2: not a GeoJSON object",
            self.document(): "holds no position",
            '{"type": "FeatureCollection"}': "no list of features",
            "[]": "not a GeoJSON object",
            "[": "line 1: not valid JSON",
        }
        for text, message in cases.items():
            with pytest.raises(InputError, match=message):
                read_truth(saved(tmp_path, "t.geojson", text))


def test_missing_and_unknown_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.gpx: cannot be read"):
        read_truth(tmp_path / "none.gpx")
    with pytest.raises(InputError, match="folder.csv: cannot be read"):
        (tmp_path / "folder.csv").mkdir()
        read_truth(tmp_path / "folder.csv")
    with pytest.raises(InputError, match=r"t\.srt: positions are read from \.gpx"):
        read_truth(saved(tmp_path, "t.srt", ""))


class TestPositionsAt:
    def test_between_fixes_the_great_circle_is_followed(self):
        truth = media_truth([(0.0, 0.0), (0.0, 10.0)], [0.0, 1.0])
        assert positions_at(truth, np.array([0.0, 0.25, 1.0])) == pytest.approx(np.array([(0, 0), (0, 2.5), (0, 10)]))

    def test_the_antimeridian_is_crossed_the_short_way(self):
        truth = media_truth([(0.0, 179.0), (0.0, -179.0)], [0.0, 1.0])
        found = positions_at(truth, np.array([0.25, 0.75]))
        assert found == pytest.approx(np.array([(0.0, 179.5), (0.0, -179.5)]))

    def test_outside_and_in_gaps_nothing_is_known(self):
        truth = media_truth([(0.0, 0.0), (0.0, 1.0), (0.0, 2.0)], [0.0, 5.0, 30.0])
        known = ~np.isnan(positions_at(truth, np.array([-0.1, 0.0, 3.0, 5.0, 6.0, 30.0, 30.1, np.nan]))[:, 0])
        assert known.tolist() == [False, True, True, True, False, True, False, False]
        assert not np.isnan(positions_at(truth, np.array([6.0]), max_gap_s=25.0)).any()

    def test_across_segments_nothing_is_known(self):
        latlon = np.array([(0.0, 0.0), (0.0, 1.0), (50.0, 100.0), (50.0, 101.0)])
        truth = Truth("media_time", np.array([0.0, 1.0, 2.0, 3.0]), latlon, np.array([0, 0, 1, 1]))
        found = positions_at(truth, np.array([0.5, 1.0, 1.5, 2.0, 2.5]))
        assert np.isnan(found[:, 0]).tolist() == [False, False, True, False, False]

    def test_one_fix_is_known_at_its_instant_only(self):
        truth = media_truth([(1.0, 2.0)], [3.0])
        assert positions_at(truth, np.array([3.0, 3.1]))[0].tolist() == [1.0, 2.0]
        assert np.isnan(positions_at(truth, np.array([3.0, 3.1]))[1]).all()

    def test_no_query_gives_no_position(self):
        assert positions_at(media_truth([(1.0, 2.0)], [3.0]), np.array([])).shape == (0, 2)

    def test_absolute_times_are_aligned_by_the_start_or_by_the_first_fix(self):
        instants = START.timestamp() + np.array([0.0, 10.0])
        truth = Truth("utc", instants, np.array([(0.0, 0.0), (0.0, 10.0)]))
        by_start = positions_at(truth, np.array([3.0]), media_zero_utc=datetime(2024, 5, 17, 9, 30, 2, tzinfo=UTC))
        by_first = positions_at(truth, np.array([3.0]), first_fix_at_s=-2.0)
        assert by_start == pytest.approx(np.array([(0.0, 5.0)]))
        assert by_first == pytest.approx(by_start)

    def test_rounding_of_absolute_times_loses_no_fix(self):
        milliseconds = np.arange(0, 2000, 59)
        instants = np.array([datetime(2000, 1, 1, tzinfo=UTC).timestamp() + ms / 1000 for ms in milliseconds])
        truth = Truth("utc", instants, np.stack([np.zeros(len(instants)), milliseconds / 1000], 1))
        found = positions_at(truth, milliseconds / 1000, media_zero_utc=datetime(2000, 1, 1, tzinfo=UTC))
        assert not np.isnan(found).any()

    def test_frames_are_looked_up_and_not_interpolated(self):
        truth = Truth("frame", np.array([0.0, 10.0]), np.array([(1.0, 2.0), (3.0, 4.0)]))
        found = positions_at(truth, np.array([0.0, 0.1, 0.2]), frame_index=np.array([10, 5, 0]))
        assert found[[0, 2]].tolist() == [[3.0, 4.0], [1.0, 2.0]]
        assert np.isnan(found[1]).all()

    @pytest.mark.parametrize(
        ("clock", "alignment"),
        [
            ("utc", {}),
            ("utc", {"media_zero_utc": START, "first_fix_at_s": 0.0}),
            ("utc", {"media_zero_utc": datetime(2024, 1, 1)}),
            ("utc", {"frame_index": np.array([0])}),
            ("media_time", {"first_fix_at_s": 0.0}),
            ("media_time", {"media_zero_utc": START}),
            ("media_time", {"frame_index": np.array([0])}),
            ("frame", {}),
        ],
    )
    def test_an_alignment_must_fit_the_clock(self, clock, alignment):
        with pytest.raises(UsageError):
            positions_at(Truth(clock, np.zeros(1), np.zeros((1, 2))), np.zeros(1), **alignment)


REAL = [
    "gps/gopro_max_carlsbad.gpx",
    "gps/gopro_hero5_carlsbad.gpx",
    "street/lund_walk_29f_1fps.gpx",
    "tracks/comma2k19_i280_20hz.gpx",
]


@pytest.mark.parametrize("name", REAL)
def test_real_tracks_are_read_and_followed(media, name):
    truth = read_truth(media / name)
    assert truth.clock == "utc"
    offsets_s = truth.instants - truth.instants[0]
    found = positions_at(truth, offsets_s, first_fix_at_s=0.0)
    assert np.max(haversine_km(found, truth.latlon_deg)) < SAME_PLACE_KM
    between = positions_at(truth, (offsets_s[:-1] + offsets_s[1:]) / 2.0, first_fix_at_s=0.0)
    # Half way the position is as far from both neighbours as they are from each other, halved.
    step_km = haversine_km(truth.latlon_deg[:-1], truth.latlon_deg[1:])
    assert np.max(np.abs(haversine_km(between, truth.latlon_deg[1:]) - step_km / 2.0)) < SAME_PLACE_KM
