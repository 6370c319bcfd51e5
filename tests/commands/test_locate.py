"""The program as a shell script sees it: exit codes, streams, files, on real videos with a real (tiny) model."""

import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import CommandLine
from synthetic_video import write_edited_video, write_video
from tiny_bundle import write_tiny_bundle
from tiny_geoclip_bundle import write_tiny_geoclip_bundle

from vidtag_cli.__main__ import main
from vidtag_cli.bundle.contract import Calibration

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def shy_model(tmp_path_factory):
    """A model that finds every frame too uncertain."""
    parameters = {
        "posterior_scale": 10.0, "place_radius_km": 100.0, "max_domain_distance": 5.0, "max_disagreement_km": 30000.0,
        "max_radius95_km": 50.0,
    }  # fmt: skip
    tables = {"posterior_radius_edges_km": [], "radius50_km": [10.0], "radius95_km": [100.0]}
    calibration = Calibration(parameters, tables, "not calibrated", {})
    return write_tiny_bundle(tmp_path_factory.mktemp("shy"), "shy", calibration=calibration)


@pytest.fixture(scope="module")
def made_clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture
def clip(made_clip, tmp_path):
    return Path(shutil.copy(made_clip, tmp_path / "clip.mp4"))


@pytest.fixture
def vidtag(tmp_path, monkeypatch, capfd):
    """Run the program in an empty folder with a cache of its own."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VIDTAG_MODEL", raising=False)
    monkeypatch.chdir(folder)
    return CommandLine(folder, monkeypatch, capfd)


@pytest.fixture
def process(vidtag):
    """Run the program as ``vidtag`` does, in a process of its own."""

    def run(*arguments, **kwargs):
        return subprocess.run(
            [sys.executable, "-m", "vidtag_cli", *map(str, arguments)], cwd=vidtag.folder, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False, **kwargs,
        )  # fmt: skip

    return run


def test_all_formats_and_the_report_are_written(vidtag, process, clip, model):
    outs = [argument for suffix in ("gpx", "kml", "geojson", "csv") for argument in ("--out", f"t.{suffix}")]
    done = process("locate", clip, "--model", model, *outs)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    report = json.loads((vidtag.folder / "t.report.json").read_text())
    assert report["input"]["unchanged"] is True
    assert report["input"]["sha256_before"] == hashlib.sha256(clip.read_bytes()).hexdigest()
    assert [point["media_time_s"] for point in report["estimates"]] == [0.0, 1.0, 2.0, 3.0, 4.0]
    for output in report["outputs"]:
        assert hashlib.sha256((vidtag.folder / output["path"]).read_bytes()).hexdigest() == output["sha256"]


def test_two_runs_give_the_same_tracks(vidtag, process, clip, model):
    process("locate", clip, "--model", model, "--out", "a.gpx")
    vidtag("locate", clip, "--model", model, "--out", "b.gpx")
    assert (vidtag.folder / "a.gpx").read_bytes() == (vidtag.folder / "b.gpx").read_bytes()


def test_a_table_is_printed_when_nothing_is_written(vidtag, clip, model):
    done = vidtag("locate", clip, "--model", model)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].split()[:3] == ["FILE", "FRAME", "TIME_S"]
    assert sum(not line.startswith("# ") for line in done.stdout.splitlines()) == 6  # after it the caveats
    assert list(vidtag.folder.iterdir()) == []


def test_json_is_one_line_on_stdout(vidtag, clip, model):
    done = vidtag("locate", clip, "--model", model, "--json", "--out", "t.gpx")
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["inputs"][0]["summary"]["ok"] == 5


def test_stdout_takes_the_document_alone(vidtag, process, clip, model):
    done = process("locate", clip, "--model", model, "--out", "-", "--format", "gpx")
    assert done.stdout.startswith("<?xml")
    assert vidtag("locate", clip, "--model", model, "--out", "-").returncode == 2


def test_nothing_is_overwritten_without_force(vidtag, clip, model):
    (vidtag.folder / "t.gpx").write_text("mine")
    assert vidtag("locate", clip, "--model", model, "--out", "t.gpx").returncode == 5
    assert (vidtag.folder / "t.gpx").read_text() == "mine"
    assert vidtag("locate", clip, "--model", model, "--out", "t.gpx", "--force").returncode == 0
    assert (vidtag.folder / "t.gpx").read_text() != "mine"


def test_a_path_is_named_in_every_output(vidtag, clip, model):
    arguments = ("locate", clip, "--model", model, "--smooth", "viterbi", "--max-speed-kmh", "90")
    done = vidtag(*arguments, "--out", "t.gpx", "--out", "t.kml", "--out", "t.geojson")
    assert done.returncode == 0, done.stderr
    named = "viterbi (at most 90 km/h)"
    for name in ("t.gpx", "t.kml", "t.geojson", "t.report.json"):
        assert named in (vidtag.folder / name).read_text("utf-8"), name
    report = json.loads((vidtag.folder / "t.report.json").read_text("utf-8"))
    assert report["method"]["parameters"]["max_speed_km_h"] == 90.0
    assert report["summary"]["track_smoothing"] == named


def test_every_shot_of_an_edited_video_has_its_own_track(vidtag, tmp_path, model):
    edited = write_edited_video(tmp_path / "edited.mp4", (8, 6), fps=1)  # the model's own pace
    arguments = ("locate", edited, "--model", model, "--all-frames", "--smooth", "viterbi")
    done = vidtag(*arguments, "--out", "t.gpx", "--out", "t.csv")
    assert done.returncode == 0, done.stderr
    assert "14 of 14 frames located, in 2 shots" in done.stderr
    assert (vidtag.folder / "t.gpx").read_text("utf-8").count("<trkseg>") == 2
    with (vidtag.folder / "t.csv").open(encoding="utf-8", newline="") as file:
        assert [row["shot"] for row in csv.DictReader(file)] == [*["0"] * 8, *["1"] * 6]
    report = json.loads((vidtag.folder / "t.report.json").read_text("utf-8"))
    assert [(shot["frames"], shot["ok"]) for shot in report["summary"]["shots"]] == [(8, 8), (6, 6)]
    parameters = report["method"]["parameters"]
    assert parameters["cuts"]["min_difference"] > 0.0
    assert parameters["blank_spread_levels"] > 0.0


@pytest.mark.parametrize("option", [("--shots", "whole"), ("--decode", "keyframes")])
def test_a_video_taken_for_one_shot_says_so(vidtag, tmp_path, model, option):
    edited = write_edited_video(tmp_path / "edited.mp4", (8, 6))
    done = vidtag("locate", edited, "--model", model, "--all-frames", *option, "--out", "t.gpx")
    assert done.returncode in (0, 8), done.stderr  # of key frames there may be too few to confirm each other
    assert "Cuts were not looked for" in (vidtag.folder / "t.gpx").read_text("utf-8")
    report = json.loads((vidtag.folder / "t.report.json").read_text("utf-8"))
    assert (report["method"]["parameters"]["shots"], report["method"]["parameters"]["cuts"]) == ("whole", None)
    assert len(report["summary"]["shots"]) == 1


def test_the_input_is_never_an_output(vidtag, clip, model):
    link = vidtag.folder / "link.gpx"
    link.symlink_to(clip)
    before = clip.read_bytes()
    assert vidtag("locate", clip, "--model", model, "--out", "link.gpx", "--force").returncode == 5
    assert clip.read_bytes() == before


def test_abstaining_everywhere_is_a_result_with_its_own_code(vidtag, clip, shy_model):
    done = vidtag("locate", clip, "--model", shy_model, "--out", "t.gpx", "--out", "t.geojson")
    assert done.returncode == 8, done.stderr
    assert "too uncertain" in done.stderr
    features = json.loads((vidtag.folder / "t.geojson").read_text())["features"]
    assert [feature["geometry"] for feature in features] == [None] * 5
    report = json.loads((vidtag.folder / "t.report.json").read_text())
    assert (report["run"]["exit_code"], report["summary"]["ok"]) == (8, 0)
    again = vidtag("locate", clip, "--model", shy_model, "--out", "u.gpx", "--exit-zero-on-abstain")
    assert again.returncode == 0


def test_a_model_without_temporal_modules_is_a_model_as_any_other(vidtag, clip, tmp_path):
    """Every output says that its numbers were never measured, and nothing pretends that they were."""
    model = write_tiny_geoclip_bundle(tmp_path)
    names = ["t.gpx", "t.kml", "t.geojson", "t.csv"]
    done = vidtag("locate", clip, "--model", model, *(part for name in names for part in ("--out", name)))
    assert done.returncode == 0, done.stderr
    assert "was not measured" in " ".join(done.stderr.split())
    for name in names[:3]:
        assert "how often the true place lies inside was not measured" in (vidtag.folder / name).read_text()
    report = json.loads((vidtag.folder / "t.report.json").read_text())
    assert report["summary"]["ok"] == 5
    assert report["uncertainty_statement"]["coverage_measured"] == {}
    assert set(report["method"]["parameters"]["rule"]) == {"posterior_scale", "place_radius_km", "max_radius50_km"}
    assert all(0.0 < point["radius50_m"] <= point["radius95_m"] for point in report["estimates"])


@pytest.mark.parametrize(("name", "content", "code"), [
    ("absent.mp4", None, 3), ("empty.mp4", b"", 3), ("text.mp4", b"not a video at all\n" * 200, 4),
])  # fmt: skip
def test_bad_inputs_have_their_codes_and_leave_nothing(vidtag, tmp_path, model, name, content, code):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    done = vidtag("locate", path, "--model", model, "--out", "t.gpx")
    assert done.returncode == code, done.stderr
    assert name in done.stderr
    assert "Traceback" not in done.stderr
    assert list(vidtag.folder.iterdir()) == []


def test_no_model_named_is_an_error_that_says_how(vidtag, clip):
    done = vidtag("locate", clip, "--out", "t.gpx")
    assert done.returncode == 6
    assert "--model" in done.stderr


def test_an_expected_hash_that_differs_stops_before_decoding(vidtag, clip, model):
    done = vidtag("locate", clip, "--model", model, "--out", "t.gpx", "--expect-sha256", "0" * 64)
    assert done.returncode == 7
    assert list(vidtag.folder.iterdir()) == []


def test_one_bad_file_does_not_end_a_batch(vidtag, tmp_path, clip, model):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"nothing")
    out = vidtag.folder / "out"
    out.mkdir()
    done = vidtag("locate", bad, clip, "--model", model, "--out-dir", out, "--format", "gpx,csv", "--json")
    assert done.returncode == 9
    codes = [entry["exit_code"] for entry in json.loads(done.stdout)["inputs"]]
    assert codes == [4, 0]
    digest = hashlib.sha256(clip.read_bytes()).hexdigest()[:8]
    names = {f"clip.{digest}.gpx", f"clip.{digest}.csv", f"clip.{digest}.report.json"}
    assert {path.name for path in out.iterdir()} == names


def test_a_shell_loop_that_reads_names_from_stdin_sees_every_line(tmp_path, clip, model):
    """ffmpeg without -nostdin eats the loop's input."""
    names = [shutil.copy(clip, tmp_path / f"clip {number}.mp4") for number in range(2)]
    (tmp_path / "list").write_text("".join(f"{name}\n" for name in names))
    locate = '"$1" -m vidtag_cli locate "$f" --model "$2" -q >/dev/null && echo "$f"'
    script = f'while IFS= read -r f; do {locate}; done < "$3"'
    done = subprocess.run(
        ["bash", "-c", script, "bash", sys.executable, str(model), str(tmp_path / "list")],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )  # fmt: skip
    assert done.stdout.splitlines() == [str(name) for name in names], done.stderr


def test_names_come_from_a_list_separated_by_nul(vidtag, tmp_path, clip, model):
    odd = clip.rename(tmp_path / "two\nlines.mp4")
    (tmp_path / "list").write_bytes(os.fsencode(odd) + b"\0")
    done = vidtag("locate", "--files-from", tmp_path / "list", "-0", "--model", model, "--json")
    assert done.returncode == 0, done.stderr


def test_a_name_that_is_no_utf8_is_given_in_bytes_as_well(vidtag, tmp_path, clip, model):
    odd = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    clip.rename(odd)
    out = os.fsdecode(b"t\xe9.gpx")
    done = vidtag("locate", odd, "--model", model, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    (summary,) = json.loads(done.stdout)["inputs"]
    report_file = vidtag.folder / os.fsdecode(b"t\xe9.report.json")
    report = json.loads(report_file.read_text("utf-8"))
    for record in (summary["outputs"][0], report["outputs"][0]):
        assert (record["path"], bytes.fromhex(record["path_bytes_hex"])) == ("t\\xe9.gpx", b"t\xe9.gpx")
    assert bytes.fromhex(summary["path_bytes_hex"]) == os.fsencode(odd)
    assert bytes.fromhex(summary["report_bytes_hex"]) == b"t\xe9.report.json"
    assert report["input"]["name"] == "caf\\xe9.mp4"
    assert bytes.fromhex(report["input"]["name_bytes_hex"]) == b"caf\xe9.mp4"
    arguments = [bytes.fromhex(argument) for argument in report["run"]["argv_bytes_hex"]]
    assert arguments[:2] == [b"locate", os.fsencode(odd)]
    for document in (done.stdout, report_file.read_text("utf-8")):
        assert not re.search("\ufffd|\\\\ud[89a-f]", document)


def test_a_list_may_come_through_a_pipe(process, clip, model):
    done = process("locate", "--files-from", "/dev/stdin", "--model", model, "--json", input=f"{clip}\n")
    assert done.returncode == 0, done.stderr


def test_a_list_separated_by_nul_needs_the_option_that_says_so(process, clip):
    done = process("locate", "--files-from", "-", input=f"{clip}\0")
    assert done.returncode == 2
    assert "-0" in done.stderr


def test_a_pipe_in_place_of_a_video_fails_alone(vidtag, process, tmp_path, clip, model):
    os.mkfifo(tmp_path / "pipe.mp4")
    done = process("locate", tmp_path / "pipe.mp4", clip, "--model", model, "--out-dir", ".", timeout=60)
    assert done.returncode == 9
    assert "pipe.mp4: error" in done.stderr
    assert len(list(vidtag.folder.iterdir())) == 2


@pytest.mark.parametrize("arguments", [
    [], ["clip.mp4", "--out", "a.gpx", "--out-dir", "."], ["clip.mp4", "--fps", "1", "--all-frames"],
    ["clip.mp4", "--format", "gpx"], ["clip.mp4", "--out", "a.xyz"], ["-"],
    ["clip.mp4", "--out", "a.gpx", "--geojson-shape", "line"], ["clip.mp4", "--max-speed-kmh", "90"],
    ["clip.mp4", "--smooth", "viterbi", "--max-speed-kmh", "0"],
    ["clip.mp4", "--decode", "keyframes", "--shots", "split"],
    ["clip.mp4", "--out", "a.gpx", "--out", "a.gpx"],
    ["clip.mp4", "--out", "a.json", "--report", "a.json", "--force"],
    ["clip.mp4", "--start-time", "9999-12-31T23:59:50Z"], ["clip.mp4", "--expect-sha256", "abc"],
    ["a.mp4", "b.mp4", "--start-time", "2024-05-17T09:30:05Z"], ["a.mp4", "b.mp4", "--expect-sha256", "0" * 64],
    ["clip.mp4", "--threads", "100000"], ["clip.mp4", "--fps", "inf"],
])  # fmt: skip
def test_contradictions_are_wrong_usage(vidtag, arguments):
    assert vidtag("locate", *arguments).returncode == 2


@pytest.mark.parametrize("arguments", [
    ["--first-fix-at-s", "nan"], ["--first-fix-at-s", "inf"], ["--fps", "inf"],
    ["--media-zero", "9999-12-31T23:59:50Z"],
])  # fmt: skip
def test_values_that_are_none_are_wrong_usage_in_eval_too(vidtag, arguments):
    done = vidtag("eval", "clip.mp4", "--truth", "truth.csv", *arguments)
    assert done.returncode == 2
    assert arguments[0] in done.stderr


def test_an_input_cut_short_is_said_and_strict_makes_it_an_error(vidtag, tmp_path, model):
    clip = write_video(tmp_path / "cut.mkv", seconds=12.0)
    os.truncate(clip, clip.stat().st_size // 2)
    done = vidtag("locate", clip, "--model", model, "--json")
    assert "cut.mkv: incomplete or damaged: " in done.stderr
    assert json.loads(done.stdout)["inputs"][0]["completeness"]["complete"] is False
    strict = vidtag("locate", clip, "--model", model, "--out", "t.gpx", "--strict")
    assert (strict.returncode, strict.stdout) == (4, "")
    assert "--strict" in strict.stderr
    assert list(vidtag.folder.iterdir()) == []


@pytest.mark.parametrize("command", [("locate",), ("eval", "--truth", "t.csv"), ("bench",)])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nofile.mp4", "nofile.mp4: there is no such file"),
        ("https://example.org/a.mp4", "https://example.org/a.mp4: only local files are read"),
        ("rtsp://camera/1", "rtsp://camera/1: only local files are read"),
    ],
)
def test_a_missing_video_is_said_before_a_model_is_asked_for(capsys, monkeypatch, command, name, said):
    monkeypatch.delenv("VIDTAG_MODEL", raising=False)
    assert main([command[0], name, *command[1:]]) == 3
    assert capsys.readouterr().err.startswith(f"vidtag: error: {said}")


def test_an_address_among_videos_fails_alone(vidtag, clip, model):
    done = vidtag("locate", "https://example.org/a.mp4", clip, "--model", model, "--out-dir", "out")
    assert done.returncode == 9
    assert "only local files are read" in done.stderr


@pytest.mark.parametrize("option", ["--out", "--out-dir", "--report"])
def test_an_output_is_no_address(vidtag, clip, model, option):
    done = vidtag("locate", clip, "--model", model, option, "s3://bucket/t.gpx")
    assert done.returncode == 2
    assert "s3://bucket/t.gpx: outputs are local files" in done.stderr
    assert list(vidtag.folder.iterdir()) == []


def test_the_folder_for_outputs_is_made_with_those_above_it(vidtag, clip, model):
    assert vidtag("locate", clip, "--model", model, "--out-dir", "a/b").returncode == 0
    assert len(list((vidtag.folder / "a" / "b").iterdir())) == 2
    (vidtag.folder / "file").touch()
    done = vidtag("locate", clip, "--model", model, "--out-dir", "file/b")
    assert done.returncode == 5
    assert "file/b: the folder cannot be made" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("clip.mp4", "track.gpx"), "track.gpx: there is no such file; if it is an output, give it with --out"),
        (("clip.mp4", "--out", "folder"), "--out folder: this is a folder: give --out-dir folder"),
    ],
)
def test_a_slip_with_outputs_is_said_before_any_work(capsys, monkeypatch, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    assert main(["locate", *arguments, "--model", "flyover"]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_is_said_to_be_one_before_a_model_is_asked_for(capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("VIDTAG_MODEL", raising=False)
    assert main(["locate", str(tmp_path)]) == 3
    assert "this is a folder: name the videos in it" in capsys.readouterr().err
