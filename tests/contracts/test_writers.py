"""One suite over every writer: what goes in comes out, in programs that nobody here wrote."""

from __future__ import annotations

import csv
import functools
import html
import io
import json
import math
import shutil
import struct
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from lxml import etree

from vidtag_cli.track import Answer, Area, Candidate, FrameSpan, TimeBasis, Track, TrackPoint
from vidtag_cli.writers.formats import FORMATS, FormatOptions, render_track

pyogrio = pytest.importorskip("pyogrio", reason="pyogrio reads the outputs with GDAL: pip install pyogrio")

ROOT = Path(__file__).parents[2]
FIJI = [(-17.0, 179.80), (-17.1, 179.90), (-17.2, 179.98), (-17.3, -179.95), (-17.4, -179.90)]
PLAIN = [(48.8584, 2.2945), (48.8590, 2.2950), (48.8600, 2.2961), (48.8610, 2.2975)]
# Up to the north pole, across it, and down on the other side.
POLAR = [(89.5, 30.0), (89.9, 30.0), (90.0, 0.0), (89.9, -150.0), (89.5, -150.0)]
HOSTILE_NAME = (
    "=cmd|' /C calc'!A0 <script>alert(1)</script> &amp; ]]> \x00\x07\x1b[31m \udcff\ud800 \ufffe \r\n é 𝄞" * 20
)
# Six decimals of a degree on the ground, and half a unit in the last place.
POSITION_TOLERANCE_DEG = 0.5e-6 + 1e-12

POINT, LINE, POLYGON = 1, 2, 3
"""Kinds of geometry in WKB."""

START = datetime(2024, 5, 17, 9, 30, 5, 33_000, tzinfo=UTC)
LAYERS = {"kml": "Estimates"}
OPEN_OPTIONS = {"csv": {"X_POSSIBLE_NAMES": "lon", "Y_POSSIBLE_NAMES": "lat", "AUTODETECT_TYPE": "YES"}}


def point(frame: int, latlon: tuple[float, float] | None, **changes) -> TrackPoint:
    if latlon is None:
        return TrackPoint(frame, frame * 0.5, "abstained", abstain_reason="posterior too flat")
    values = {"radius50_m": 250.0, "radius95_m": 950.0, "confidence": 0.71} | changes
    return TrackPoint(frame, frame * 0.5, "ok", latlon[0], latlon[1], **values)


def track(latlons, name="clip.mp4", timed=True, **changes) -> Track:
    basis = TimeBasis("user", START) if timed else TimeBasis()
    points = tuple(point(frame, latlon, **changes) for frame, latlon in enumerate(latlons))
    return Track(name, points, "flyover", basis, limitations=("Trained on aerial imagery only.",))


def long_track() -> Track:
    turn = np.linspace(0.0, 40.0, 500)
    return track([(float(10.0 + 5.0 * math.sin(a)), float(20.0 + a)) for a in turn])


def cut_at_each_frame(track_: Track) -> Track:
    return replace(track_, points=tuple(replace(p, shot=number) for number, p in enumerate(track_.points)))


def answered(track_: Track, answer: Answer) -> Track:
    return replace(track_, answer=answer, shot_answers=(replace(answer, shot=0),))


BEYOND_180 = Area(-17.0, 179.9, 100_000.0, 0.35, "Fiji (Oceania)", (FrameSpan(0, 2, 0.0, 1.0, 3),))

TRACKS = {
    "plain": track(PLAIN),
    "without absolute time": track(PLAIN, timed=False),
    "one point": track(PLAIN[:1]),
    "one point without absolute time": track(PLAIN[:1], timed=False),
    "every frame abstained": track([None, None, None]),
    "no frame at all": track([]),
    "abstention in the middle": track([*PLAIN[:2], None, *PLAIN[2:]]),
    "abstentions around one point": track([PLAIN[0], None, PLAIN[1], None, *PLAIN[2:]], timed=False),
    "alone between abstentions": track([PLAIN[0], PLAIN[1], None, PLAIN[2], None, PLAIN[3]]),
    "alone between abstentions, no time": track([PLAIN[0], PLAIN[1], None, PLAIN[2], None, PLAIN[3]], timed=False),
    "alone beyond 180": track([*FIJI[:3], FIJI[3], None]),
    "alone beyond 180, no time": track([*FIJI[:3], FIJI[3], None], timed=False),
    "every one alone": track([PLAIN[0], None, PLAIN[1], None, PLAIN[2]]),
    "every one alone, no time": track([PLAIN[0], None, PLAIN[1], None, PLAIN[2]], timed=False),
    "each shot has one frame": cut_at_each_frame(track(PLAIN)),
    "Fiji": track(FIJI),
    "Fiji without absolute time": track(FIJI, timed=False),
    "on the antimeridian": track([(0.0, 179.9), (0.0, -180.0), (0.1, -180.0), (0.1, 179.9)]),
    "rounds to 180": track([(0.0, 179.99999), (0.0, 179.99999999)]),
    "rounds to 180, no time": track([(0.0, 179.99999), (0.0, 179.99999999)], timed=False),
    "polar": track(POLAR, radius95_m=120_000.0),
    "polar without absolute time": track(POLAR, timed=False),
    "pole alone": track([(-90.0, 0.0)], radius95_m=5_000.0),
    "hostile name": track(PLAIN, name=HOSTILE_NAME),
    "no radius, no confidence": track(PLAIN, radius50_m=None, radius95_m=None, confidence=None),
    "radius 0": track(PLAIN, radius50_m=0.0, radius95_m=0.0, confidence=0.0),
    "radius of a hemisphere and of the Earth": track(PLAIN[:1], radius95_m=12_000_000.0),
    "radius of the Earth": track(PLAIN[:1], radius95_m=20_015_000.0),
    "500 points": long_track(),
    "with an answer": answered(track([*FIJI, None]), Answer((BEYOND_180, BEYOND_180), 0.1, 0.2, (("x", 0.2),), 6, 6.0)),
    "answered by silence": answered(track([None, None]), Answer((), 0.0, 1.0, (("x", 1.0),), 2, 2.0)),
}


@pytest.fixture(params=sorted(FORMATS))
def format_name(request) -> str:
    return request.param


@pytest.fixture(params=TRACKS)
def any_track(request) -> Track:
    return TRACKS[request.param]


@pytest.fixture(scope="module")
def gpx_schema(tmp_path_factory) -> etree.XMLSchema:
    folder = tmp_path_factory.mktemp("schemas")
    shutil.copy(ROOT / "tests/schemas/gpx.xsd", folder)
    for schema in (ROOT / "vidtag_cli/data/schemas").glob("vidtag-gpx-*.xsd"):
        shutil.copy(schema, folder)
    return etree.XMLSchema(etree.parse(folder / "vidtag-gpx-master.xsd"))


@pytest.fixture(scope="module")
def kml_schema() -> etree.XMLSchema:
    fastkml = pytest.importorskip("fastkml", reason="fastkml carries kml22gx.xsd: pip install fastkml")
    return etree.XMLSchema(etree.parse(Path(fastkml.__file__).parent / "schema" / "kml22gx.xsd"))


def write_track(track_: Track, path: Path) -> None:
    path.write_bytes(rendered(track_, path.suffix.removeprefix(".")))


@functools.cache
def rendered(track_: Track, format_name: str) -> bytes:
    return render_track(track_, FORMATS[format_name])


def gdal_points(path: Path, format_name: str) -> list[tuple[float, float]]:
    """Return (lat, lon) of the point geometries that GDAL reads, in the order of frames, None left out."""
    if format_name == "gpx":
        rows = [row for layer in ("track_points", "waypoints") for row in gpx_points(path, layer)]
        return [latlon for _, latlon in sorted(rows)]
    if LAYERS.get(format_name) is not None and LAYERS[format_name] not in pyogrio.list_layers(path)[:, 0]:
        return []
    _, _, geometries, _ = pyogrio.raw.read(path, layer=LAYERS.get(format_name), **OPEN_OPTIONS.get(format_name, {}))
    return [lat_lon_of_wkb(wkb) for wkb in geometries if wkb is not None] if geometries is not None else []


def gpx_points(path: Path, layer: str) -> list[tuple[int, tuple[float, float]]]:
    if layer not in pyogrio.list_layers(path)[:, 0]:
        return []
    info, _, geometries, fields = pyogrio.raw.read(path, layer=layer)
    if not len(geometries):
        return []
    frames = fields[info["fields"].tolist().index("vidtag_frame")]
    return [(int(frame), lat_lon_of_wkb(wkb)) for frame, wkb in zip(frames, geometries, strict=True)]


def lat_lon_of_wkb(wkb: bytes) -> tuple[float, float]:
    order = "<" if wkb[0] == 1 else ">"
    (kind,) = struct.unpack_from(f"{order}I", wkb, 1)
    assert flat_kind(kind) == POINT, f"not a point: {kind}"
    lon, lat = struct.unpack_from(f"{order}2d", wkb, 5)
    return lat, lon


def flat_kind(kind: int) -> int:
    """Return the kind of a geometry without its marks of a third dimension, ISO's and the older one."""
    return (kind & 0x1FFFFFFF) % 1000


def check_wkb(wkb: bytes, at: int = 0) -> int:
    """Return where a geometry ends; fail where it holds a line of one position or a collection of nothing.

    GEOS, and with it geopandas and PostGIS, refuses such a line; GDAL itself does not look.
    """
    order = "<" if wkb[at] == 1 else ">"
    (kind,) = struct.unpack_from(f"{order}I", wkb, at + 1)
    dimensions = 3 if kind >= 1000 else 2
    at += 5
    if flat_kind(kind) == POINT:
        return at + 8 * dimensions
    (count,) = struct.unpack_from(f"{order}I", wkb, at)
    at += 4
    assert count >= (2 if flat_kind(kind) == LINE else 1), f"geometry of kind {kind} with {count} parts"
    if flat_kind(kind) == LINE:
        return at + 8 * dimensions * count
    for _ in range(count):
        if flat_kind(kind) == POLYGON:
            (vertices,) = struct.unpack_from(f"{order}I", wkb, at)
            assert vertices >= 4
            at += 4 + 8 * dimensions * vertices
        else:
            at = check_wkb(wkb, at)
    return at


def line_count_of_wkb(wkb: bytes) -> int:
    order = "<" if wkb[0] == 1 else ">"
    kind, count = struct.unpack_from(f"{order}II", wkb, 1)
    return count if kind & 0xFF in (5, 0xED) or kind % 1000 == 5 else 1


def test_gdal_reads_every_estimate_at_its_place(any_track, format_name, tmp_path):
    path = tmp_path / f"track{FORMATS[format_name].suffixes[0]}"
    write_track(any_track, path)
    read = gdal_points(path, format_name)
    expected = [(p.lat_deg, p.lon_deg) for p in any_track.located()]
    assert len(read) == len(expected)
    for (lat, lon), (true_lat, true_lon) in zip(read, expected, strict=True):
        assert abs(lat - true_lat) <= POSITION_TOLERANCE_DEG
        assert abs((lon - true_lon + 180.0) % 360.0 - 180.0) <= POSITION_TOLERANCE_DEG
        assert -180.0 <= lon < 180.0


@pytest.mark.parametrize(("format_name", "shape"), [*((name, "point") for name in FORMATS), ("geojson", "line")])
def test_every_layer_holds_only_geometries_that_readers_accept(any_track, format_name, shape, tmp_path):
    path = tmp_path / f"track{FORMATS[format_name].suffixes[0]}"
    path.write_bytes(render_track(any_track, FORMATS[format_name], FormatOptions(shape)))
    for layer in pyogrio.list_layers(path)[:, 0]:
        _, _, geometries, _ = pyogrio.raw.read(path, layer=layer, **OPEN_OPTIONS.get(format_name, {}))
        for wkb in geometries if geometries is not None else []:
            assert wkb is None or check_wkb(wkb) == len(wkb)


def test_isolated_estimates_are_waypoints_and_points_and_no_lines():
    gpx = etree.fromstring(rendered(TRACKS["alone between abstentions"], "gpx"))
    names = {"g": "http://www.topografix.com/GPX/1/1"}
    assert [element.findtext("g:name", namespaces=names) for element in gpx.iterfind("g:wpt", names)] == [
        "frame 3",
        "frame 5",
    ]
    assert [len(segment.findall("g:trkpt", names)) for segment in gpx.iterfind(".//g:trkseg", names)] == [2]
    for name in ("every one alone", "every one alone, no time", "every frame abstained"):
        kml = rendered(TRACKS[name], "kml").decode()
        assert kml.count("<Point>") == len(TRACKS[name].located())
        assert "MultiTrack" not in kml and "LineString" not in kml and "<name>Track</name>" not in kml


def test_equal_tracks_give_equal_bytes(any_track, format_name):
    assert render_track(replace(any_track), FORMATS[format_name]) == rendered(any_track, format_name)


def test_bytes_are_utf8_without_forbidden_characters(any_track, format_name):
    text = rendered(any_track, format_name).decode("utf-8")
    assert not text.startswith("\ufeff")
    assert not [c for c in text if (ord(c) < 0x20 and c not in "\t\n\r") or ord(c) in (0xFFFE, 0xFFFF, 0x7F)]
    assert not any(word in text for word in ("nan", "NaN", "inf", "Infinity", "None"))


def test_no_time_is_written_without_a_basis(format_name):
    text = rendered(TRACKS["without absolute time"], format_name).decode()
    assert "1970" not in text
    assert "<time>" not in text and "<when>" not in text and '"time":' not in text
    assert rendered(TRACKS["plain"], format_name).decode().count("2024-05-17T09:30:06.533Z") >= 1


def test_nothing_in_a_document_is_fetched(any_track, format_name):
    text = rendered(any_track, format_name).decode()
    for namespace in ("topografix.com/GPX/1/1", "opengis.net/kml/2.2", "google.com/kml/ext/2.2"):
        text = text.replace(f'="http://www.{namespace}"', "")
    for word in ("http:", "https:", "href", "schemaLocation", "<Icon>", "NetworkLink"):
        assert word not in text


@pytest.mark.parametrize("format_name", ["gpx", "kml", "geojson"])
def test_the_limits_travel_with_the_track(any_track, format_name):
    text = rendered(any_track, format_name).decode()
    for sentence in ("Estimate from image content; not a GNSS fix", "Trained on aerial imagery only.", "vidtag 0."):
        assert sentence in text
    assert "flyover" in text and "moothing" in text


@pytest.mark.parametrize(
    "changes",
    [{"lat_deg": 91.0}, {"lon_deg": 180.0}, {"lat_deg": math.nan}, {"radius95_m": -1.0}, {"radius95_m": math.inf}]
    + [{"radius50_m": math.nan}, {"radius95_m": math.nan}, {"radius50_m": -math.inf}]
    + [{"status": "abstained", "lat_deg": None, "lon_deg": None, "radius95_m": math.nan}]
    + [{"status": "abstained", "lat_deg": None, "lon_deg": None, "confidence": math.inf}]
    + [{"candidates": (Candidate(1.0, 2.0, math.nan, 0.5),)}, {"candidates": (Candidate(math.inf, 2.0, 0.5, 0.5),)}]
    + [{"confidence": 1.5}, {"confidence": math.nan}, {"media_time_s": 0.0}, {"media_time_s": math.nan}],
    ids=str,
)
def test_a_track_with_a_broken_number_is_refused(changes, format_name):
    good = TRACKS["plain"]
    broken = replace(good, points=(*good.points[:2], replace(good.points[2], **changes), good.points[3]))
    with pytest.raises(ValueError, match="frame 2"):
        rendered(broken, format_name)


def test_an_instant_without_zone_is_refused(format_name):
    naive = replace(TRACKS["plain"], time_basis=TimeBasis("user", START.replace(tzinfo=None)))
    with pytest.raises(ValueError, match="no time zone"):
        rendered(naive, format_name)


def test_gpx_is_valid_with_its_extensions(any_track, gpx_schema):
    gpx_schema.assertValid(etree.fromstring(rendered(any_track, "gpx")))


def test_kml_is_valid(any_track, kml_schema):
    kml_schema.assertValid(etree.fromstring(rendered(any_track, "kml")))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'lon="2.294500"', b'lon="180.0"'),
        (b'lat="48.858400"', b'lat="NaN"'),
        (b">2024-05-17T09:30:05.033Z<", b">17 May 2024<"),
        (b"0.7100<", b"7.1<"),
        (b"confidence>0.7100", b"confidence>NaN"),
        (b"radius95_m>950.0", b"radius95_m>-950.0"),
        (b"vidtag:frame>0<", b"vidtag:frame>-1<"),
    ],
)
def test_the_schemas_catch_a_broken_gpx(old, new, gpx_schema):
    good = rendered(TRACKS["plain"], "gpx")
    assert old in good
    assert not gpx_schema.validate(etree.fromstring(good.replace(old, new, 1)))


@pytest.mark.parametrize(("name", "parts"), [("plain", 1), ("abstention in the middle", 2), ("Fiji", 2)])
@pytest.mark.parametrize("format_name", ["gpx", "kml"])
def test_gdal_sees_the_gaps_of_a_line(name, parts, format_name, tmp_path):
    path = tmp_path / f"track.{format_name}"
    write_track(TRACKS[name], path)
    layer = {"gpx": "tracks", "kml": pyogrio.list_layers(path)[0, 0]}[format_name]
    _, _, geometries, _ = pyogrio.raw.read(path, layer=layer)
    assert line_count_of_wkb(geometries[0]) == parts


def test_gdal_types_the_extensions_of_gpx(tmp_path):
    write_track(TRACKS["plain"], tmp_path / "track.gpx")
    info = pyogrio.read_info(tmp_path / "track.gpx", layer="track_points")
    types = dict(zip(info["fields"].tolist(), info["dtypes"].tolist(), strict=True))
    assert types["vidtag_frame"] == "int32"
    assert types["vidtag_radius95_m"] == "float64"
    assert types["vidtag_confidence"] == "float64"


def test_gdal_types_the_columns_of_csv(tmp_path):
    write_track(TRACKS["plain"], tmp_path / "track.csv")
    info = pyogrio.read_info(tmp_path / "track.csv", **OPEN_OPTIONS["csv"])
    types = dict(zip(info["fields"].tolist(), info["dtypes"].tolist(), strict=True))
    assert types["time_utc"].startswith("datetime64")
    assert types["radius95_m"] == "float64"


def test_gdal_keeps_abstentions_of_geojson_as_rows(tmp_path):
    write_track(TRACKS["abstention in the middle"], tmp_path / "track.geojson")
    info = pyogrio.read_info(tmp_path / "track.geojson")
    assert info["geometry_type"] == "Point"
    assert info["features"] == 5


def test_gpxpy_reads_the_same_track():
    gpxpy = pytest.importorskip("gpxpy", reason="pip install gpxpy")
    parsed = gpxpy.parse(rendered(TRACKS["Fiji"], "gpx").decode())
    segments = parsed.tracks[0].segments
    assert [len(segment.points) for segment in segments] == [3, 2]
    assert segments[0].points[0].time == START
    assert segments[0].points[0].comment == "estimate: 95% radius 950 m"
    assert segments[0].points[0].horizontal_dilution is None


def test_fastkml_reads_the_same_track():
    fastkml = pytest.importorskip("fastkml", reason="pip install fastkml")
    document = fastkml.KML.from_string(rendered(TRACKS["Fiji"], "kml")).features[0]
    multi_track = next(feature for feature in document.features if feature.name == "Track").kml_geometry
    assert [len(part.track_items) for part in multi_track.tracks] == [3, 2]


def test_csv_holds_no_empty_position_and_no_formula(any_track):
    text = rendered(any_track, "csv").decode()
    assert text.count("\r\n") == text.count("\n") == len(any_track.located()) + 1
    for row in csv.DictReader(io.StringIO(text, newline="")):
        assert math.isfinite(float(row["lat"])) and math.isfinite(float(row["lon"]))
        assert not any(cell.startswith(("=", "+", "@")) for cell in row.values())


def test_geojson_is_strict_json(any_track):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    for shape in ("point", "line"):
        content = render_track(any_track, FORMATS["geojson"], FormatOptions(shape))
        document = json.loads(content, parse_constant=refuse)
        assert document["type"] == "FeatureCollection"
        assert "crs" not in document
        assert ("bbox" in document) == bool(any_track.located())


def test_a_line_loses_no_position_and_its_box_is_that_of_its_vertices(any_track):
    document = json.loads(render_track(any_track, FORMATS["geojson"], FormatOptions("line")))
    (feature,) = document["features"]
    lines = feature["geometry"]["coordinates"] if feature["geometry"] else []
    beside = feature["properties"]["coordinateProperties"]
    frames = [frame for row in beside["frame"] for frame in row]
    positions = [tuple(position) for line in lines for position in line]
    at_frame = {f: position for f, position in zip(frames, positions, strict=True) if f is not None}
    assert sorted(at_frame) == [p.frame_index for p in any_track.located()]
    for p in any_track.located():
        lon, lat = at_frame[p.frame_index]
        assert abs(lat - p.lat_deg) <= POSITION_TOLERANCE_DEG
        assert abs((lon - p.lon_deg + 180.0) % 360.0 - 180.0) <= POSITION_TOLERANCE_DEG
    radii = {
        f: r for f, r in zip(frames, [r for row in beside["radius50_m"] for r in row], strict=True) if f is not None
    }
    assert radii == {p.frame_index: p.radius50_m for p in any_track.located()}
    if not positions:
        return
    west, south, east, north = document["bbox"]
    assert (south, north) == (min(lat for _, lat in positions), max(lat for _, lat in positions))
    lons = [(lon - west) % 360.0 for lon, lat in positions if abs(lat) < 90.0]
    assert not lons or max(lons) == pytest.approx((east - west) % 360.0, abs=1e-9)


def test_gdal_types_the_values_of_kml(tmp_path):
    write_track(TRACKS["plain"], tmp_path / "track.kml")
    info = pyogrio.read_info(tmp_path / "track.kml", layer="Estimates")
    types = dict(zip(info["fields"].tolist(), info["dtypes"].tolist(), strict=True))
    assert (types["frame"], types["shot"]) == ("int32", "int32")
    assert {types[name] for name in ("media_time_s", "radius50_m", "radius95_m", "confidence")} == {"float64"}


def test_a_hostile_name_is_text_where_a_viewer_takes_it_for_html():
    name = "<img src=x onerror=alert(1)> &lt;b&gt; Tom & Jerry &copy"
    kml = etree.fromstring(rendered(replace(TRACKS["plain"], name=name), "kml"))
    shown = kml.findtext(".//{*}Document/{*}name")
    assert "<" not in shown and "Tom & Jerry" in shown
    assert html.unescape(shown) == name


def test_gdal_and_csv_hold_every_frame_where_abstentions_are_asked_for(any_track, tmp_path):
    content = render_track(any_track, FORMATS["csv"], FormatOptions(csv_abstained=True))
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    assert [int(row["frame"]) for row in rows] == [p.frame_index for p in any_track.points]
    for row, p in zip(rows, any_track.points, strict=True):
        assert (row["status"], row["abstain_reason"]) == (p.status, p.abstain_reason or "")
        assert (row["lat"] == "") == (row["lon"] == "") == (p.status != "ok")
    (tmp_path / "track.csv").write_bytes(content)
    assert len(gdal_points(tmp_path / "track.csv", "csv")) == len(any_track.located())
