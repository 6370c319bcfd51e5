from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidtag_cli.errors import OutputError, UsageError
from vidtag_cli.track import Track, TrackPoint
from vidtag_cli.writers.formats import FORMATS, format_of, write_track

ROOT = Path(__file__).parents[2]
TRACK = Track("clip", (TrackPoint(0, 0.0, "ok", 1.0, 2.0),), "flyover")


@pytest.mark.parametrize(
    ("path", "explicit", "name"),
    [
        ("a.gpx", None, "gpx"),
        ("a.GPX", None, "gpx"),
        ("a.b.kml", None, "kml"),
        ("a.geojson", None, "geojson"),
        ("a.json", None, "geojson"),
        (Path("a.csv"), None, "csv"),
        ("a.txt", "csv", "csv"),
        ("-", "GPX", "gpx"),
        ("a.gpx", "kml", "kml"),
    ],
)
def test_the_suffix_chooses_unless_a_format_is_named(path, explicit, name):
    assert format_of(path, explicit).name == name


@pytest.mark.parametrize(
    ("path", "explicit"), [("a.txt", None), ("a", None), ("-", None), ("gpx", None), ("a.gpx", "shp")]
)
def test_an_unknown_format_names_the_option_and_the_choices(path, explicit):
    with pytest.raises(UsageError, match="--format.*gpx, kml, geojson, csv") as caught:
        format_of(path, explicit)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_what_was_written_is_described(tmp_path, name):
    path = tmp_path / f"track{FORMATS[name].suffixes[0]}"
    written = write_track(TRACK, path)
    assert written.path == str(path)
    assert written.format_label.startswith(name)
    assert written.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert written.size_bytes == path.stat().st_size


def test_an_existing_file_is_replaced_only_with_force(tmp_path):
    write_track(TRACK, tmp_path / "a.gpx")
    with pytest.raises(OutputError, match="--force"):
        write_track(TRACK, tmp_path / "a.gpx")
    write_track(TRACK, tmp_path / "a.gpx", force=True)


def test_a_broken_track_writes_nothing(tmp_path):
    broken = Track("clip", (TrackPoint(0, 0.0, "ok", 95.0, 2.0),), "flyover")
    with pytest.raises(ValueError, match="frame 0"):
        write_track(broken, tmp_path / "a.gpx")
    assert list(tmp_path.iterdir()) == []


def test_a_line_is_for_geojson_only(tmp_path):
    write_track(TRACK, tmp_path / "a.geojson", geojson_shape="line")
    with pytest.raises(UsageError, match="--geojson-shape"):
        write_track(TRACK, tmp_path / "a.gpx", geojson_shape="line")


def test_standard_output_is_the_document_alone(capfdbinary):
    write_track(TRACK, "-", format="csv")
    out, err = capfdbinary.readouterr()
    assert out.startswith(b"frame,offset_s,") and err == b""


def test_a_full_standard_output_is_an_output_error():
    code = (
        "import os\nfrom vidtag_cli.errors import OutputError\nfrom vidtag_cli.track import Track\n"
        "from vidtag_cli.writers.formats import write_track\n"
        "try:\n    write_track(Track('clip', (), 'flyover'), '-', format='csv')\n"
        "except OutputError as error:\n    os._exit(error.exit_code)\n"
    )
    with open("/dev/full", "wb") as full:
        finished = subprocess.run([sys.executable, "-c", code], stdout=full, cwd=ROOT, check=False)
    assert finished.returncode == OutputError.exit_code


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_bytes_do_not_depend_on_the_process(name):
    code = (
        "from vidtag_cli.track import Track, TrackPoint\nfrom vidtag_cli.writers.formats import write_track\n"
        "points = tuple(TrackPoint(k, float(k), 'ok', 1.0, 179.9 + k / 10 - 360 * (k > 0)) for k in range(3))\n"
        f"write_track(Track('clip', points, 'flyover'), '-', format='{name}')\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=ROOT,
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] != b""
