from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from lxml import etree

from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.track import TimeBasis, Track, TrackPoint
from vidtag_cli.writers.kml import render_kml

NAMES = {"k": "http://www.opengis.net/kml/2.2", "gx": "http://www.google.com/kml/ext/2.2"}
# Six decimals of a degree are 0.06 m at most.
ROUNDING_KM = 0.0001
START = datetime(2024, 5, 17, 9, 30, tzinfo=UTC)


def track(latlons, radius95_m=10_000.0, confidence=0.9, timed=True, model="flyover"):
    points = tuple(
        TrackPoint(k, k * 1.0, "ok", *latlon, radius50_m=10.0, radius95_m=radius95_m, confidence=confidence)
        for k, latlon in enumerate(latlons)
    )
    return Track("clip", points, model, TimeBasis("user", START) if timed else TimeBasis())


def tree(track_):
    return etree.fromstring(render_kml(track_))


def coordinates(element):
    return np.array([[float(c) for c in text.split(",")[1::-1]] for text in element.text.split()])


def rings(track_):
    return [coordinates(e) for e in tree(track_).iterfind(".//k:LinearRing/k:coordinates", NAMES)]


@pytest.mark.parametrize("centre", [(0.0, 0.0), (48.8584, 2.2945), (-17.0, 100.0), (70.0, -30.0)])
def test_a_ring_is_closed_counter_clockwise_and_at_the_radius(centre):
    (ring,) = rings(track([centre]))
    assert len(ring) == 49
    assert np.array_equal(ring[0], ring[-1])
    assert np.abs(haversine_km(ring, np.array(centre)) - 10.0).max() < ROUNDING_KM
    assert signed_area(ring) > 0.0


def signed_area(ring):
    lat, lon = ring[:, 0], ring[:, 1]
    return np.sum(lon[:-1] * lat[1:] - lon[1:] * lat[:-1])


@pytest.mark.parametrize("centre", [(-17.0, 179.99), (-17.0, -179.99), (60.0, -180.0)])
def test_a_ring_across_180_becomes_two_that_stay_on_their_side(centre):
    parts = rings(track([centre]))
    assert len(parts) == 2
    for ring in parts:
        assert np.ptp(ring[:, 1]) < 1.0
        assert np.array_equal(ring[0], ring[-1])
        assert signed_area(ring) > 0.0


@pytest.mark.parametrize(("centre", "pole"), [((89.99, 20.0), 90.0), ((90.0, 0.0), 90.0), ((-89.95, -170.0), -90.0)])
def test_a_ring_round_a_pole_reaches_it_and_both_edges(centre, pole):
    (ring,) = rings(track([centre]))
    assert pole in ring[:, 0]
    assert ring[:, 1].min() == -180.0 and ring[:, 1].max() == 180.0


@pytest.mark.parametrize("radius95_m", [None, 0.0, 20_015_115.0])
def test_no_ring_without_a_radius_or_with_the_whole_earth(radius95_m):
    assert rings(track([(10.0, 10.0)], radius95_m=radius95_m)) == []


@pytest.mark.parametrize(
    ("confidence", "style"), [(1.0, "high"), (0.8, "high"), (0.79, "mid"), (0.1, "low"), (None, "low")]
)
def test_confidence_chooses_one_of_three_shared_styles(confidence, style):
    root = tree(track([(0.0, 0.0)], confidence=confidence))
    assert [e.get("id") for e in root.iterfind(".//k:Style", NAMES)] == ["conf-high", "conf-mid", "conf-low"]
    assert {e.text for e in root.iterfind(".//k:styleUrl", NAMES)} == {f"#conf-{style}"}


def test_a_placemark_carries_its_numbers_and_its_time():
    root = tree(track([(0.0, 0.0), (1.0, 1.0)]))
    placemark = root.findall(".//k:Folder[k:name='Estimates']/k:Placemark", NAMES)[1]
    data = {e.get("name"): e.text for e in placemark.iterfind(".//k:SchemaData[@schemaUrl='#estimate']/*", NAMES)}
    assert data == {
        "frame": "1",
        "media_time_s": "1.000000",
        "radius50_m": "10.0",
        "radius95_m": "10000.0",
        "confidence": "0.9000",
        "shot": "0",
    }
    assert placemark.findtext("k:TimeStamp/k:when", namespaces=NAMES) == "2024-05-17T09:30:01.000Z"


def test_a_timed_track_has_as_many_times_as_positions_and_no_empty_position():
    latlons = [(0.0, 179.8), (0.0, 179.9), (0.0, -179.9), (0.0, -179.8), (0.0, -179.7)]
    tracks = tree(track(latlons)).findall(".//gx:MultiTrack/gx:Track", NAMES)
    assert [len(t.findall("k:when", NAMES)) for t in tracks] == [2, 3]
    assert [len(t.findall("gx:coord", NAMES)) for t in tracks] == [2, 3]
    assert all(e.text.split()[2] == "0" for t in tracks for e in t.iterfind("gx:coord", NAMES))
    assert tree(track(latlons)).findtext(".//gx:MultiTrack/gx:interpolate", namespaces=NAMES) == "0"


def test_without_times_there_are_lines_and_no_track():
    root = tree(track([(0.0, 179.8), (0.0, 179.9), (0.0, -179.9)], timed=False))
    lines = [coordinates(e) for e in root.iterfind(".//k:LineString/k:coordinates", NAMES)]
    assert [line[:, 1].tolist() for line in lines] == [[179.8, 179.9, 180.0], [-180.0, -179.9]]
    assert root.find(".//gx:Track", NAMES) is None
    assert root.find(".//k:TimeStamp", NAMES) is None


def test_a_model_name_cannot_bring_markup_into_the_description():
    description = tree(track([(0.0, 0.0)], model="<script>alert(1)</script>")).findtext(
        ".//k:description", namespaces=NAMES
    )
    assert "<script>" not in description
    assert "&lt;script&gt;" in description


def test_an_unknown_value_is_left_out_and_the_others_are_typed():
    root = tree(Track("clip", (TrackPoint(7, 1.0, "ok", 1.0, 2.0),), "flyover"))
    assert [e.get("name") for e in root.iterfind(".//k:SimpleData", NAMES)] == ["frame", "media_time_s", "shot"]
    fields = {e.get("name"): e.get("type") for e in root.iterfind(".//k:Schema[@id='estimate']/*", NAMES)}
    assert (fields["frame"], fields["radius95_m"]) == ("int", "double")


@pytest.mark.parametrize(
    ("radius95_m", "text"), [(949.2, "950 m"), (2_301.0, "2.4 km"), (499_863.1, "500 km"), (15_000_000.0, "15000 km")]
)
def test_the_ring_is_named_in_the_unit_that_fits(radius95_m, text):
    root = tree(track([(0.0, 0.0)], radius95_m=radius95_m))
    name = root.findtext(".//k:Folder[k:name='95% radius']/k:Placemark/k:name", namespaces=NAMES)
    assert name == f"frame 0: 95% radius {text}"
