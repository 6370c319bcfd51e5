from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lxml import etree

from vidtag_cli.track import TimeBasis, Track, TrackPoint
from vidtag_cli.writers.gpx import VIDTAG_NAMESPACE, render_gpx

ROOT = Path(__file__).parents[2]
NAMES = {"g": "http://www.topografix.com/GPX/1/1", "v": VIDTAG_NAMESPACE}
GPX_XSD_SHA256 = "2e2baac6b81942816e707a26d9d337c47dfc43411b30c2c4854cac238e834969"


def track(*points, basis=TimeBasis()):  # noqa: B008  # frozen
    return Track("clip", points, "flyover", basis, "viterbi")


def ok(frame, lat, lon, **values):
    return TrackPoint(frame, frame * 1.0, "ok", lat, lon, **values)


def tree(track_):
    return etree.fromstring(render_gpx(track_))


def longitudes(track_):
    return [[p.get("lon") for p in s.iterfind("g:trkpt", NAMES)] for s in tree(track_).iterfind(".//g:trkseg", NAMES)]


def waypoints(track_):
    return [point.get("lon") for point in tree(track_).iterfind("g:wpt", NAMES)]


def test_segments_end_at_abstentions_and_at_180_without_new_points():
    points = [ok(0, 0.0, 179.8), ok(1, 0.0, 179.9), ok(2, 0.0, -179.9), ok(3, 0.0, -179.8)]
    points += [TrackPoint(4, 4.0, "abstained"), ok(5, 0.0, -179.7), ok(6, 0.0, -179.6)]
    assert longitudes(track(*points)) == [
        ["179.800000", "179.900000"], ["-179.900000", "-179.800000"], ["-179.700000", "-179.600000"],
    ]  # fmt: skip
    assert waypoints(track(*points)) == []


def test_an_estimate_that_stands_alone_is_a_waypoint():
    points = [ok(0, 0.0, 179.9), ok(1, 0.0, -179.9), TrackPoint(2, 2.0, "abstained"), ok(3, 0.0, -179.8)]
    assert longitudes(track(*points)) == []
    assert waypoints(track(*points)) == ["179.900000", "-179.900000", "-179.800000"]


def test_without_a_line_there_is_no_track_and_the_metadata_tell_the_method():
    root = tree(track(ok(0, 1.0, 2.0)))
    assert root.find("g:trk", NAMES) is None
    assert root.findtext("g:metadata/g:extensions/v:model", namespaces=NAMES) == "flyover"
    root = tree(track(ok(0, 1.0, 2.0), ok(1, 1.0, 2.1)))
    assert root.findtext("g:trk/g:extensions/v:model", namespaces=NAMES) == "flyover"
    assert root.find("g:metadata/g:extensions", NAMES) is None


def test_a_segment_ends_with_its_shot():
    points = [ok(0, 0.0, 1.0), ok(1, 0.0, 2.0), replace(ok(2, 0.0, 3.0), shot=1), replace(ok(3, 0.0, 4.0), shot=3)]
    points.append(replace(ok(4, 0.0, 5.0), shot=3))
    assert longitudes(track(*points)) == [["1.000000", "2.000000"], ["4.000000", "5.000000"]]
    assert waypoints(track(*points)) == ["3.000000"]
    shots = [element.text for element in tree(track(*points)).iterfind(".//g:trkpt//v:shot", NAMES)]
    assert shots == ["0", "0", "3", "3"]


def test_a_longitude_that_rounds_to_180_begins_the_western_side():
    assert waypoints(track(ok(0, 0.0, 179.9), ok(1, 0.0, 179.9999999))) == ["179.900000", "-180.000000"]


def test_there_is_no_negative_zero():
    (point,) = tree(track(ok(0, -1e-9, -1e-9))).iterfind("g:wpt", NAMES)
    assert (point.get("lat"), point.get("lon")) == ("0.000000", "0.000000")


@pytest.mark.parametrize(
    ("radius95_m", "comment"),
    [(950.0, "estimate: 95% radius 950 m"), (950.2, "estimate: 95% radius 951 m"), (None, "estimate: radius unknown")]
    + [(499_863.1, "estimate: 95% radius 500 km")],
)
def test_the_comment_tells_the_radius_and_never_less(radius95_m, comment):
    point = ok(0, 1.0, 2.0, radius95_m=radius95_m)
    assert tree(track(point)).findtext("g:wpt/g:cmt", namespaces=NAMES) == comment
    both = tree(track(point, replace(point, frame_index=1, media_time_s=1.0)))
    assert [element.text for element in both.iterfind(".//g:trkpt/g:cmt", NAMES)] == [comment, comment]


def test_unknown_values_are_left_out():
    extensions = tree(track(ok(0, 1.0, 2.0))).find("g:wpt/g:extensions", NAMES)
    assert [etree.QName(e).localname for e in extensions] == ["frame", "media_time_s", "shot"]


def test_nothing_pretends_to_be_a_gnss_fix():
    text = render_gpx(track(ok(0, 1.0, 2.0, radius50_m=1.0, radius95_m=2.0, confidence=0.5))).decode()
    for element in ("hdop", "vdop", "pdop", "<sat", "<fix", "<ele", "ageofdgpsdata", "bounds"):
        assert element not in text


def test_time_counts_from_the_first_point():
    basis = TimeBasis("user", datetime(2024, 5, 17, 9, 30, tzinfo=UTC), "given by the examiner")
    root = tree(track(ok(3, 1.0, 2.0), ok(5, 1.0, 2.0), basis=basis))
    assert [e.text for e in root.iterfind(".//g:trkpt/g:time", NAMES)] == [
        "2024-05-17T09:30:00.000Z",
        "2024-05-17T09:30:02.000Z",
    ]
    assert root.findtext(".//v:time_basis", namespaces=NAMES) == "user (given by the examiner)"
    assert root.findtext(".//v:smoothing", namespaces=NAMES) == "viterbi"


def test_the_schema_declares_the_namespace_that_is_written():
    schema = etree.parse(ROOT / "vidtag_cli/data/schemas/vidtag-gpx-1.xsd").getroot()
    assert schema.get("targetNamespace") == VIDTAG_NAMESPACE == "tag:vidtag,2026:gpx/1"


def test_the_gpx_schema_is_the_published_one():
    assert hashlib.sha256((ROOT / "tests/schemas/gpx.xsd").read_bytes()).hexdigest() == GPX_XSD_SHA256
