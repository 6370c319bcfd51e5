"""The oracle sees what it is there to see: each of its findings, on outcomes made by hand."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from oracle import judge
from trial import STRANGER, Outcome, Trial

FINE = Outcome(0, b"", b"", 1.0, False, (), ())
GPX = b'<gpx xmlns="http://www.topografix.com/GPX/1/1"/>'
GPX_SHA256 = hashlib.sha256(GPX).hexdigest()
ESTIMATES = [{"frame": 0, "lat": 1.0, "lon": 2.0}]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def folder(tmp_path):
    """The folder of a trial in which all is well: a clip, a track, its record."""
    for name in ("work/out", "home", "tmp"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "work" / "clip.mp4").write_bytes(b"clip")
    (tmp_path / "work" / "out" / "t.gpx").write_bytes(GPX)
    write_record(tmp_path)
    return tmp_path


def write_record(folder, estimates=tuple(ESTIMATES), track_sha256=GPX_SHA256, name="out/t.gpx"):
    record = {
        "outputs": [{"path": name, "sha256": track_sha256}],
        "input": {"sha256_before": sha256(b"clip")},
        "estimates": list(estimates),
    }
    (folder / "work" / "out" / "t.report.json").write_text(json.dumps(record))


def found(folder: Path, outcome: Outcome = FINE, **changes: object) -> set[str]:
    trial = Trial("kind", "fault", ("locate",), folder / "work" / "clip.mp4", frozenset({0, 8}))
    trial = dataclasses.replace(trial, **changes)
    return {finding.kind for finding in judge(trial, outcome, folder, sha256(b"clip"), {sha256(b"clip"): ESTIMATES})}


def test_where_all_is_well_nothing_is_found(folder):
    assert found(folder) == set()


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        ({"is_timed_out": True, "exit_code": -9}, "hangs"),
        ({"exit_code": 1}, "exit code 1"),
        ({"exit_code": -11}, "killed by a signal"),
        ({"exit_code": -9}, "killed by a signal"),
        ({"exit_code": 77}, "exit code that is not documented"),
        ({"exit_code": 4, "stderr": b"vidtag: error: x"}, "wrong exit code"),
        ({"survivors": ("ffmpeg",)}, "process outlives the program"),
        ({"companion_codes": (1,)}, "exit code 1"),
        ({"stderr": b"Traceback (most recent call last):"}, "says it is a bug"),
        ({"stderr": b"x; this is a bug: run again"}, "says it is a bug"),
        ({"stderr": b"RuntimeWarning: overflow"}, "says it is a bug"),
        ({"stderr": b"a\x1b[31m"}, "raw control characters"),
        ({"stdout": b"a\x07"}, "raw control characters"),
        ({"exit_code": 3}, "fails without a word"),
    ],
)
def test_how_a_run_ends_and_what_it_says(folder, outcome, kind):
    assert kind in found(folder, dataclasses.replace(FINE, **outcome))


@pytest.mark.parametrize(
    ("stdout", "kind"),
    [
        (b"table\n", "stdout is no JSON"),
        (b"", "no JSON on stdout"),
        (b'{"error": {"exit_code": 5}}', "JSON names another exit code"),
    ],
)
def test_the_answer_in_json(folder, stdout, kind):
    assert kind in found(folder, dataclasses.replace(FINE, stdout=stdout), arguments=("locate", "--json"))


def test_a_track_cut_short(folder):
    (folder / "work" / "out" / "t.gpx").write_bytes(GPX[:20])
    assert {"output cannot be read", "record of another file"} <= found(folder)


def test_a_record_without_its_track(folder):
    (folder / "work" / "out" / "t.gpx").unlink()
    assert found(folder) == {"record of a file that is not there"}


def test_a_track_without_a_record(folder):
    (folder / "work" / "out" / "t.report.json").unlink()
    assert found(folder) == {"track without a record"}
    assert found(folder, arguments=("locate", "--no-report")) == set()


def test_estimates_of_another_clip(folder):
    write_record(folder, [{"frame": 0, "lat": 3.0, "lon": 2.0}])
    assert found(folder) == {"estimates are not of the recorded input"}


def test_a_clip_cut_short(folder):
    record_file = folder / "work" / "out" / "t.report.json"
    record = json.loads(record_file.read_text())
    assert found(folder, expected_frames=2) == {"cut short without a word"}
    for decode in ({"completeness": {"complete": False}, "errors": []}, {"errors": ["truncated"]}):
        record_file.write_text(json.dumps({**record, "input": {**record["input"], "decode": decode}}))
        assert found(folder, expected_frames=2) == set()


def test_outputs_that_should_be_there(folder):
    for path in (folder / "work" / "out").iterdir():
        path.unlink()
    assert found(folder) == {"outputs are missing"}
    failed = Outcome(4, b"", b"vidtag: error: x", 1.0, False, (), ())
    assert found(folder, failed, codes=frozenset({4})) == set()
    assert found(folder, failed, codes=frozenset({4}), has_old_set=True) == {"outputs are missing"}


@pytest.mark.parametrize("name", ["work/out/.vidtag-0123.part", "home/.install-x", "tmp/anything"])
def test_what_is_left_behind(folder, name):
    (folder / name).write_bytes(b"")
    assert found(folder) == {"left behind"}


def test_changed_evidence(folder):
    (folder / "work" / "clip.mp4").write_bytes(b"other")
    assert found(folder) == {"evidence changed"}
    assert found(folder, is_clip_changed=True) == set()


def test_a_file_of_somebody_else(folder):
    stranger = folder / "work" / "out" / "u.gpx"
    stranger.write_bytes(STRANGER)
    assert found(folder, stranger=stranger) == set()
    stranger.write_bytes(GPX)
    assert "file of somebody else replaced" in found(folder, stranger=stranger)
