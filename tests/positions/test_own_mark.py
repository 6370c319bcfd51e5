"""What vidtag wrote is known as such, whatever other programs made of it since."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from vidtag_cli.errors import InputError
from vidtag_cli.evaluation.truth import read_truth
from vidtag_cli.positions.own_mark import GPX_NAMESPACE
from vidtag_cli.positions.reading import READERS, read_position_file
from vidtag_cli.track import TimeBasis, Track, TrackPoint
from vidtag_cli.writers.formats import FORMATS, FormatOptions, render_track
from vidtag_cli.writers.gpx import VIDTAG_NAMESPACE
from vidtag_cli.writers.report import REPORT_SCHEMA

TRACK = Track(
    "clip.mp4",
    (TrackPoint(0, 0.0, "ok", 1.0, 2.0, 10.0, 20.0, 0.5), TrackPoint(1, 1.0, "ok", 1.0, 2.0, 10.0, 20.0, 0.5)),
    "flyover",
    TimeBasis("user", datetime(2024, 5, 17, tzinfo=UTC)),
)
GPX = render_track(TRACK, FORMATS["gpx"]).decode()


def refused(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match="written by vidtag itself") as caught:
        read_truth(path)
    return str(caught.value)


def test_the_namespace_is_the_writers() -> None:
    assert GPX_NAMESPACE == VIDTAG_NAMESPACE


@pytest.mark.parametrize("format_name", [name for name in FORMATS if name != "kml"])
def test_every_output_that_can_be_read_is_no_truth(tmp_path: Path, format_name: str) -> None:
    suffix = FORMATS[format_name].suffixes[0]
    assert suffix in READERS
    refused(tmp_path / f"clip{suffix}", render_track(TRACK, FORMATS[format_name]))


def test_a_line_of_geojson_is_no_truth(tmp_path: Path) -> None:
    refused(tmp_path / "clip.geojson", render_track(TRACK, FORMATS["geojson"], FormatOptions(geojson_shape="line")))


@pytest.mark.parametrize("suffix", [".kml", ".gpx"])
def test_a_kml_is_no_truth_by_any_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    path.write_bytes(render_track(TRACK, FORMATS["kml"]))
    with pytest.raises(InputError, match=r"not from '\.kml'|root element is 'kml'"):
        read_truth(path)


@pytest.mark.parametrize(
    "text",
    [
        GPX.replace('creator="vidtag', 'creator="GPSBabel'),
        f'<gpx creator="x"><trk><src>vidtag 0.1 image-content estimate</src>{"<trkseg/>"}</trk></gpx>',
        '<gpx creator="x"><wpt lat="1" lon="2"><cmt>estimate: 95% radius 20 m</cmt></wpt></gpx>',
        f'<gpx><wpt lat="1" lon="2"><extensions><a xmlns="{GPX_NAMESPACE}">1</a></extensions></wpt></gpx>',
    ],
)
def test_one_mark_is_enough_in_gpx(tmp_path: Path, text: str) -> None:
    refused(tmp_path / "a.gpx", text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "time_utc,lat,lon,vidtag_radius95_m\n2024-05-17T09:30:00Z,1,2,3\n"),
        ("a.csv", "Time_s;Lat;Lon;Radius50_m\n1;1;2;3\n"),
        ("a.geojson", '{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"time_s":1,'
         '"vidtag_radius95_m":3},"geometry":{"type":"Point","coordinates":[2,1]}}]}'),
        ("a.json", json.dumps({"schema": REPORT_SCHEMA, "estimates": []})),
        ("a.json", json.dumps({"schema": "vidtag-eval/1"})),
        ("a.json", json.dumps({"path": "clip.mp4", "exit_code": 0, "estimates": []})),
    ],
)  # fmt: skip
def test_columns_properties_and_schemas_are_marks(tmp_path: Path, name: str, text: str) -> None:
    assert name in refused(tmp_path / name, text)


def test_a_receivers_track_has_no_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.gpx"
    path.write_text('<gpx creator="Garmin"><wpt lat="1" lon="2"><cmt>home</cmt><src>GPS</src></wpt></gpx>')
    assert read_position_file(path).contents.own_mark is None
