from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vidtag_cli.errors import UsageError
from vidtag_cli.track import Track, TrackPoint
from vidtag_cli.writers.formats import FORMATS, FormatOptions, format_of, render_output

ROOT = Path(__file__).parents[2]
TRACK = Track("clip", (TrackPoint(0, 0.0, "ok", 1.0, 2.0),), "flyover")
LINE = Track("clip", (TrackPoint(0, 0.0, "ok", 1.0, 2.0), TrackPoint(1, 1.0, "ok", 1.0, 3.0)), "flyover")


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
def test_an_output_is_described(name):
    path = f"track{FORMATS[name].suffixes[0]}"
    content, described = render_output(TRACK, path)
    assert described.path == path
    assert described.format_label.startswith(name)
    assert described.sha256 == hashlib.sha256(content).hexdigest()
    assert described.size_bytes == len(content)


def test_a_broken_track_is_refused():
    broken = Track("clip", (TrackPoint(0, 0.0, "ok", 95.0, 2.0),), "flyover")
    with pytest.raises(ValueError, match="frame 0"):
        render_output(broken, "a.gpx")


def test_a_line_is_for_geojson_only():
    assert b"MultiLineString" in render_output(LINE, "a.geojson", None, FormatOptions("line"))[0]
    assert render_output(LINE, "a.gpx", None, FormatOptions("line")) == render_output(LINE, "a.gpx")


@pytest.mark.parametrize(
    ("name", "options", "left_out"),
    [("a.gpx", FormatOptions(), 1), ("a.kml", FormatOptions(), 1), ("a.geojson", FormatOptions(), 0)]
    + [
        ("a.geojson", FormatOptions("line"), 1),
        ("a.csv", FormatOptions(), 1),
        ("a.csv", FormatOptions("point", True), 0),
    ],
)
def test_it_is_counted_what_an_output_leaves_out(name, options, left_out):
    track = replace(LINE, points=(*LINE.points, TrackPoint(2, 2.0, "abstained", abstain_reason="flat")))
    assert render_output(track, name, None, options)[1].frames_left_out == left_out


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_bytes_do_not_depend_on_the_process(name):
    code = (
        "import sys\nfrom vidtag_cli.track import Track, TrackPoint\n"
        "from vidtag_cli.writers.formats import FORMATS, render_track\n"
        "points = tuple(TrackPoint(k, float(k), 'ok', 1.0, 179.9 + k / 10 - 360 * (k > 0)) for k in range(3))\n"
        f"sys.stdout.buffer.write(render_track(Track('clip', points, 'flyover'), FORMATS['{name}']))\n"
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
