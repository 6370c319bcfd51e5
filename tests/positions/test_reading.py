"""One reader for every format: what counts, what is left out, and what is refused with its place in the file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from vidtag_cli.errors import InputError
from vidtag_cli.evaluation.truth import read_truth
from vidtag_cli.gallery.point_files import read_points
from vidtag_cli.positions import reading
from vidtag_cli.positions.reading import left_out_text, read_position_file

HEAD = '<gpx xmlns="http://www.topografix.com/GPX/1/1" version="1.1" creator="t">'
TIME = "<time>2024-05-17T09:30:{:02d}Z</time>"


def saved(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def point(lon: object, lat: object, **properties: object) -> str:
    named = ",".join(f'"{name}":{value}' for name, value in properties.items())
    return f'{{"type":"Feature","properties":{{{named}}},"geometry":{{"type":"Point","coordinates":[{lon},{lat}]}}}}'


def collection(*features: str) -> str:
    return f'{{"type":"FeatureCollection","features":[{",".join(features)}]}}'


def refused(path: Path) -> str:
    """Return what both readers of a file say of it, which must be the same."""
    said = []
    for read in (read_truth, read_points):
        with pytest.raises(InputError) as caught:
            read(path)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert said[0].startswith(str(path))
    return said[0]


def test_the_hash_is_that_of_the_bytes_that_were_read(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.csv", "time_s,lat,lon\n0,1,2\n")
    assert read_position_file(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


class TestWithoutAFix:
    """Positions that a receiver writes before it knows where it is."""

    @pytest.mark.parametrize(
        ("name", "content", "left_out"),
        [
            ("a.csv", "time_s,lat,lon\n0,0.0,0.0\n1,-0.0,0\n2,,\n3,nan,NaN\n4,null,None\n5,1,2\n6,1,2\n",
             {"null_island": 2, "empty": 3}),
            ("a.gpx", HEAD + "<trk><trkseg>"
             f'<trkpt lat="0.0" lon="0.0">{TIME.format(0)}</trkpt><trkpt lat="" lon="">{TIME.format(1)}</trkpt>'
             f'<trkpt lat="5" lon="5">{TIME.format(2)}<fix>none</fix></trkpt>'
             f'<trkpt lat="1" lon="2">{TIME.format(3)}</trkpt><trkpt lat="1" lon="2">{TIME.format(4)}</trkpt>'
             "</trkseg></trk></gpx>", {"null_island": 1, "empty": 1, "no_fix": 1}),
            ("a.geojson", collection(point(0, 0.0, time_s=0), point("null", "null", time_s=1),
             '{"type":"Feature","properties":{"time_s":2},"geometry":{"type":"Point","coordinates":[]}}',
             '{"type":"Feature","properties":{"time_s":3},"geometry":null}', point(2, 1, time_s=4),
             point(2, 1, time_s=5)), {"null_island": 1, "empty": 2, "unlocated": 1}),
        ],
    )  # fmt: skip
    def test_they_are_left_out_counted_and_said(
        self, tmp_path: Path, name: str, content: str, left_out: dict[str, int]
    ) -> None:
        path = saved(tmp_path, name, content)
        file = read_position_file(path)
        assert {fault: len(places) for fault, places in file.left_out().items()} == left_out
        truth = read_truth(path)
        assert truth.latlon_deg.tolist() == [[1.0, 2.0], [1.0, 2.0]]
        assert truth.source is not None
        assert sum(len(places) for places in truth.source.left_out.values()) == sum(left_out.values())
        points = read_points(path)
        assert len(points.latlon_deg) == 2
        assert "1 at 0, 0" in points.warnings[0] or "2 at 0, 0" in points.warnings[0]

    def test_a_row_that_has_half_a_position_is_an_error(self, tmp_path: Path) -> None:
        assert "line 3: there is no longitude" in refused(saved(tmp_path, "a.csv", "time_s,lat,lon\n0,1,2\n1,3,\n"))

    def test_a_place_on_the_equator_or_at_greenwich_counts(self, tmp_path: Path) -> None:
        path = saved(tmp_path, "a.csv", "time_s,lat,lon\n0,0,5\n1,5,0\n2,0.00001,0\n")
        assert len(read_truth(path).instants) == 3

    def test_without_one_usable_position_the_counts_are_the_error(self, tmp_path: Path) -> None:
        path = saved(tmp_path, "a.csv", "time_s,lat,lon\n0,0,0\n1,0,0\n2,,\n")
        with pytest.raises(InputError, match=r"no usable position: 2 at 0, 0, 1 without a position"):
            read_truth(path)
        with pytest.raises(
            InputError, match=r"no point: 2 at 0, 0 \(line 2, line 3\), 1 without a position \(line 4\)"
        ):
            read_points(path)

    def test_the_track_still_begins_with_its_first_entry(self, tmp_path: Path) -> None:
        rows = [f'<trkpt lat="{lat}" lon="{lat}">{TIME.format(s)}</trkpt>' for s, lat in enumerate((0, 0, 0, 7, 7))]
        truth = read_truth(saved(tmp_path, "a.gpx", f"{HEAD}<trk><trkseg>{''.join(rows)}</trkseg></trk></gpx>"))
        assert truth.instants[0] - truth.begin == 3.0

    def test_a_clock_that_was_not_set_yet_begins_nothing(self, tmp_path: Path) -> None:
        text = (
            f'{HEAD}<trk><trkseg><trkpt lat="0" lon="0"><time>1980-01-06T00:00:00Z</time></trkpt>'
            f'<trkpt lat="7" lon="7">{TIME.format(3)}</trkpt></trkseg></trk></gpx>'
        )
        truth = read_truth(saved(tmp_path, "a.gpx", text))
        assert truth.begin == truth.instants[0]

    def test_many_places_are_listed_in_short(self) -> None:
        assert left_out_text({"at 0, 0": [f"line {n}" for n in range(9)]}) == (
            "9 at 0, 0 (line 0, line 1, line 2, line 3, line 4, ...)"
        )


class TestColumns:
    @pytest.mark.parametrize(
        ("header", "named"),
        [
            ("offset_s,lat,lat,lon,lon", "latitude: 'lat' (column 2), 'lat' (column 3)"),
            ("offset_s,lat,latitude,lon", "latitude: 'lat' (column 2), 'latitude' (column 3)"),
            ("offset_s,LAT,Lon,gps_lng", "longitude: 'lon' (column 3), 'gps_lng' (column 4)"),
            ("offset_s,time_s,lat,lon", "time: 'offset_s' (column 1), 'time_s' (column 2)"),
            ("time,timestamp,lat,lon", "time: 'time' (column 1), 'timestamp' (column 2)"),
        ],
    )
    def test_ambiguous_ones_are_refused_by_name(self, tmp_path: Path, header: str, named: str) -> None:
        assert f"line 1: more than one column of {named}" in refused(saved(tmp_path, "a.csv", f"{header}\n0,1,2,3,4\n"))

    def test_ambiguous_times_of_a_feature_are_refused_by_name(self, tmp_path: Path) -> None:
        text = collection(point(2, 1, time_s=0, offset_s=3))
        assert "property of time: 'time_s' (column 1), 'offset_s'" in refused(saved(tmp_path, "a.geojson", text))

    def test_clocks_have_an_order_and_are_not_ambiguous(self, tmp_path: Path) -> None:
        path = saved(tmp_path, "a.csv", "frame,time_utc,offset_s,lat,lon\n9,2024-05-17T09:30:00Z,0.5,1,2\n")
        assert read_truth(path).clock == "media_time"

    @pytest.mark.parametrize("name", ["a.csv", "a.CSV", "a.txt", "a.tsv"])
    @pytest.mark.parametrize(
        "header",
        [
            "time_s,latitude_deg,gps_lng",
            '"time_s",lat,"lng"',
            "time_s;lat;lon",
            "time_s\tLat\tLong",
            "seconds, lat, lon",
        ],
    )
    def test_names_suffixes_and_delimiters_mean_the_same_to_both(self, tmp_path: Path, name: str, header: str) -> None:
        delimiter = next(mark for mark in ";\t," if mark in header)
        path = saved(tmp_path, name, f"{header}\n0{delimiter}1{delimiter}2\n")
        assert read_truth(path).latlon_deg.tolist() == read_points(path).latlon_deg.tolist() == [[1.0, 2.0]]

    @pytest.mark.parametrize(
        "header", ['time_s,lat,lon,"a; b; c; d; e"', 'time_s;lat;lon;"a, b, c, d, e"', 'time_s,lat,lon,"a\tb\tc\td\te"']
    )
    def test_a_quoted_cell_of_the_header_is_no_delimiter(self, tmp_path: Path, header: str) -> None:
        mark = header[len("time_s")]
        path = saved(tmp_path, "a.csv", f"{header}\n0{mark}1{mark}2{mark}x\n")
        assert read_truth(path).latlon_deg.tolist() == [[1.0, 2.0]]

    def test_the_line_is_that_on_which_a_row_begins(self, tmp_path: Path) -> None:
        text = 'time_s,lat,lon,note\n0,1,2,"two\nlines"\n\n1,x,2,"three\nmore\nlines"\n'
        assert "line 5: latitude 'x'" in refused(saved(tmp_path, "a.csv", text))


class TestGpxPoints:
    @pytest.mark.parametrize(
        ("body", "places"),
        [
            (f'<wpt lat="1" lon="2">{TIME.format(0)}</wpt><wpt lat="3" lon="4">{TIME.format(1)}</wpt>', 2),
            (f'<rte><rtept lat="1" lon="2">{TIME.format(0)}</rtept></rte>', 1),
        ],
    )
    def test_waypoints_or_a_route_are_a_truth_where_there_is_no_track(
        self, tmp_path: Path, body: str, places: int
    ) -> None:
        path = saved(tmp_path, "a.gpx", f"{HEAD}{body}</gpx>")
        assert len(read_truth(path).instants) == len(read_points(path).latlon_deg) == places

    def test_waypoints_beside_a_track_are_no_truth_but_points(self, tmp_path: Path) -> None:
        text = (
            f'{HEAD}<wpt lat="9" lon="9"/><trk><trkseg><trkpt lat="1" lon="2">{TIME.format(0)}</trkpt></trkseg></trk>'
        )
        path = saved(tmp_path, "a.gpx", text + "</gpx>")
        truth = read_truth(path)
        assert truth.latlon_deg.tolist() == [[1.0, 2.0]]
        assert truth.source is not None
        assert truth.source.left_out == {"beside the track": ("line 1",)}
        assert len(read_points(path).latlon_deg) == 2

    def test_a_route_without_times_says_what_is_missing(self, tmp_path: Path) -> None:
        path = saved(tmp_path, "a.gpx", f'{HEAD}<rte>\n<rtept lat="1" lon="2"/></rte></gpx>')
        with pytest.raises(InputError, match="line 2: the route point has no time"):
            read_truth(path)

    def test_each_segment_is_by_itself(self, tmp_path: Path) -> None:
        points = [f'<trkpt lat="1" lon="2">{TIME.format(second)}</trkpt>' for second in range(4)]
        two = f"<trk><trkseg>{points[0]}{points[1]}</trkseg><trkseg>{points[2]}</trkseg></trk>"
        text = f"{HEAD}{two}<trk><trkseg>{points[3]}</trkseg></trk></gpx>"
        segments = read_truth(saved(tmp_path, "a.gpx", text)).segments
        assert segments is not None
        assert segments.tolist() == [0, 0, 1, 2]

    def test_far_down_a_point_is_named_by_its_number(self, tmp_path: Path) -> None:
        text = f'{HEAD}{chr(10) * 70_000}<wpt lat="1" lon="2"/><wpt lat="x" lon="2"/></gpx>'
        assert "point 2: latitude 'x'" in refused(saved(tmp_path, "a.gpx", text))


DIGITS = "4" * 5_000
BOMB = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 50}">' for i in range(1, 9))


class TestHostileFiles:
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.geojson", "[" * 100_000, "nested too deeply"),
            ("a.geojson", '{"a":' * 100_000, "nested too deeply"),
            ("a.geojson", collection(point(DIGITS, 1, time_s=0)), "feature 1: longitude '4444.*is not a number"),
            ("a.geojson", collection(point(2, f"1.{DIGITS}", time_s=0)), "feature 1: latitude '1.44.*not a number"),
            ("a.geojson", collection(point("1e999", 1, time_s=0)), "feature 1: longitude inf is not a number"),
            ("a.geojson", collection(point(2, "NaN", time_s=0)), "NaN is not a JSON number"),
            ("a.geojson", collection(point(2, "true", time_s=0)), "feature 1: latitude True"),
            ("a.geojson", '{"type":"Feature","type":"x"}', "member 'type' twice"),
            ("a.geojson", collection(point(2, 1, time_s="[]")), "feature 1: the time .* neither"),
            ("a.geojson", b"{\xff}", "line 1: not UTF-8 text"),
            ("a.geojson", "\0", "line 1: not valid JSON"),
            ("a.csv", f"time_s,lat,lon\n0,{DIGITS},2\n", "line 2: latitude '4444"),
            ("a.csv", "time_s,lat,lon\n0,1_0,2\n", "line 2: latitude '1_0'"),
            ("a.csv", "time_s,lat,lon\n0,\u0661,2\n", "line 2: latitude '\u0661'"),
            ("a.csv", "time_s,lat,lon\n0,1\0,2\n", r"line 2: latitude '1\\x00'"),
            ("a.csv", 'time_s,lat,lon\n0,1,2\n"' + "x" * 200_000, "line 3: .*"),
            ("a.csv", '"' + "x" * 200_000, "line 1: .*"),
            ("a.csv", b"time_s,lat,lon\n0,1,2\n\xe9,1,2\n", "line 3: not UTF-8 text"),
            ("a.csv", b"\xff\xfe\x00", "line 1: not UTF-16 text"),
            ("a.gpx", "<gpx>" * 300, "line 1: not well-formed XML: Excessive depth"),
            ("a.gpx", f'<!DOCTYPE gpx [<!ENTITY e0 "9">{BOMB}]><gpx><wpt lat="&e8;" lon="2"/></gpx>', "."),
            ("a.gpx", "<!DOCTYPE gpx><gpx/>", "document type declaration"),
            ("a.gpx", f'{HEAD}<wpt lat="{DIGITS}" lon="1"/></gpx>', "line 1: latitude '4444.*5,002 characters"),
            ("a.gpx", '<?xml version="1.0" encoding="klingon"?><gpx/>', "Unsupported encoding"),
            ("a.gpx", "\0\0", "line 1: not well-formed XML"),
            ("a.gpx", f"<gpx>{'a' * 11_000_000}</gpx>", "not well-formed XML: .*too long"),
        ],
    )  # fmt: skip
    def test_they_are_refused_alike_with_what_and_where(
        self, tmp_path: Path, name: str, content: str | bytes, message: str
    ) -> None:
        import re

        said = refused(saved(tmp_path, name, content))
        assert re.search(message, said)
        assert len(said) < 400

    def test_a_spreadsheets_utf_16_is_text(self, tmp_path: Path) -> None:
        path = saved(tmp_path, "a.txt", "time_s\tlat\tlon\r\n0\t1\t2\r\n".encode("utf-16"))
        assert read_truth(path).latlon_deg.tolist() == [[1.0, 2.0]]

    def test_a_file_that_is_no_track_by_its_size_is_not_read_into_memory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reading, "MAX_BYTES", 1 << 20)
        path = tmp_path / "a.csv"
        path.touch()
        os.truncate(path, 1 << 40)
        assert "larger than 1 MB" in refused(path)
        path.write_bytes(b"time_s,lat,lon\n0,1,2\n".ljust(1 << 20, b"\n"))
        assert len(read_truth(path).instants) == 1

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a.gpx")
        assert "not a regular file" in refused(tmp_path / "a.gpx")

    @pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
    def test_instants_at_the_edge_of_the_calendar(self, tmp_path: Path, time: str) -> None:
        path = saved(tmp_path, "a.csv", f"time,lat,lon\n{time},1,2\n")
        assert len(read_truth(path).instants) == 1
