"""Points of files made by others, some of them with bad intentions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from real_media import RealMedia

from vidtag_cli.errors import InputError
from vidtag_cli.gallery.point_files import read_points

GPX_START = '<?xml version="1.0"?>\n<gpx version="1.1" creator="t" xmlns="http://www.topografix.com/GPX/1/1">\n'


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "LAT,LON\n48.8584,2.2945\n-16.8,180\n"),
        ("a.csv", "\ufeffid;Longitude;Latitude\r\n7;2.2945;48.8584\r\n\r\n8;180;-16.8\r\n"),
        ("a.tsv", "lng\tlat\n2.2945\t48.8584\n180.0\t-16.8\n"),
        ("a.gpx", GPX_START + '<wpt lat="48.8584" lon="2.2945"/>'
         '<trk><trkseg><trkpt lat="-16.8" lon="180"/></trkseg></trk></gpx>'),
        ("a.gpx", '<gpx><rte><rtept lat="48.8584" lon="2.2945"/><rtept lat="-16.8" lon="180"/></rte></gpx>'),
        ("a.geojson", '{"type":"LineString","coordinates":[[2.2945,48.8584],[180,-16.8,12]]}'),
        ("a.json", '{"type":"FeatureCollection","features":[{"type":"Feature","geometry":null},'
         '{"type":"Feature","geometry":{"type":"Point","coordinates":[2.2945,48.8584]}},'
         '{"type":"Feature","geometry":{"type":"GeometryCollection","geometries":['
         '{"type":"MultiPoint","coordinates":[[180,-16.8]]}]}}]}'),
    ],
)  # fmt: skip
def test_every_format_gives_the_same_points(tmp_path: Path, name: str, text: str) -> None:
    source = read_points(write(tmp_path, name, text))
    np.testing.assert_array_equal(source.latlon_deg, [[48.8584, 2.2945], [-16.8, 180.0]])
    assert source.spacing_km is None
    assert source.cell_area_km2 is None
    assert source.warnings == ()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "lat,lon\n1,2\n3,x\n", r"line 3: longitude 'x'"),
        ("a.csv", "lat,lon\n1,2\n\n95,2\n", r"line 4: latitude 95 .*swapped"),
        ("a.csv", "lat,lon\n1,359\n", r"line 2: longitude 359"),
        ("a.csv", "lat,lon\n1,2\n4\n", r"line 3: there is no longitude"),
        ("a.csv", "lat,lon\nnan,2\n", r"line 2: latitude 'nan' is not a number"),
        ("a.csv", "lat;lon\n48,85;2,29\n", r"line 2: latitude '48,85'"),
        ("a.csv", "name,where\na,b\n", r"line 1: no column of latitude"),
        ("a.csv", "lat,latitude,lon\n1,1,2\n", r"line 1: more than one column of latitude"),
        ("a.csv", "", r"line 1: no column"),
        ("a.csv", "lat,lon\n", r"holds no point"),
        ("a.gpx", GPX_START + '<wpt lat="1" lon="2"/>\n<wpt lat="1"/></gpx>', r"line 4: there is no longitude"),
        ("a.gpx", "<gpx><wpt", r"not well-formed"),
        ("a.gpx", "<kml/>", r"not 'gpx'"),
        ("a.geojson", '{"type":"Point","coordinates":[2]}', r"feature 1: .*not a position"),
        ("a.geojson", '{"type":"Point","coordinates":[2,NaN]}', r"NaN"),
        ("a.geojson", '{"type":"Point","coordinates":[true,1]}', r"feature 1: longitude True is not a number"),
        ("a.geojson", '{"type":"Polygon","coordinates":[]}', r"feature 1: points and lines .*Polygon"),
        ("a.geojson", '{"type":"FeatureCollection","features":3}', r"no list"),
        ("a.geojson", "[" * 100_000, r"nested|not valid JSON"),
        ("a.geojson", '{\n"type":', r"line 2: not valid JSON"),
        ("a.geojson", "[]", r"not a GeoJSON object"),
        ("a.shp", "x", r"not from '.shp'"),
    ],
)
def test_bad_files_say_what_and_where(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = write(tmp_path, name, text)
    with pytest.raises(InputError, match=message) as caught:
        read_points(path)
    assert str(caught.value).startswith(str(path))


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"lat,lon\n\xff\xfe,1\n")
    with pytest.raises(InputError, match="line 2: not UTF-8 text"):
        read_points(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_points(tmp_path / "missing.csv")


def test_null_island_is_left_out_and_said_so(tmp_path: Path) -> None:
    source = read_points(write(tmp_path, "a.csv", "lat,lon\n0,0\n1,2\n0.0,-0.0\n0,5\n"))
    np.testing.assert_array_equal(source.latlon_deg, [[1.0, 2.0], [0.0, 5.0]])
    assert len(source.warnings) == 1
    assert "2 at 0, 0 (line 2, line 4)" in source.warnings[0]


def test_a_gpx_that_reads_the_disk_reads_nothing(tmp_path: Path) -> None:
    secret = write(tmp_path, "secret", "48.0")
    hostile = (
        f'<!DOCTYPE gpx [<!ENTITY x SYSTEM "{secret.as_uri()}">]><gpx><wpt lat="1" lon="2"><name>&x;</name></wpt></gpx>'
    )
    with pytest.raises(InputError, match="document type declaration"):
        read_points(write(tmp_path, "a.gpx", hostile))


def test_a_gpx_that_grows_without_end_is_refused(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 50}">' for i in range(1, 9))
    bomb = f'<!DOCTYPE gpx [<!ENTITY e0 "9">{entities}]><gpx><wpt lat="&e8;" lon="2"/></gpx>'
    with pytest.raises(InputError):
        read_points(write(tmp_path, "a.gpx", bomb))


def test_a_real_track(media: RealMedia) -> None:
    points = read_points(media / "tracks/comma2k19_i280_20hz.gpx").latlon_deg
    assert points.shape == (1200, 2)
    assert points[0] == pytest.approx([37.7210000, -122.4722991])
