"""What must be known of an estimate stands wherever the estimate does."""

import csv
import json
import shutil
import subprocess

import pytest
from command_line import CommandLine
from synthetic_video import write_video
from tiny_bundle import write_tiny_bundle

from vidtag_cli.bundle.contract import TrainingRecord
from vidtag_cli.video.ffmpeg import find_ffmpeg
from vidtag_cli.writers.values import LIMITATION


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    drawn = TrainingRecord(("CLIP with random weights, seed 1",), ("none",), 1, "none")
    return write_tiny_bundle(folder, "trained"), write_tiny_bundle(folder, "drawn", training=drawn)


@pytest.fixture(scope="module")
def made_clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture
def vidtag(tmp_path, monkeypatch, capfd, made_clip):
    folder = tmp_path / "work"
    folder.mkdir()
    shutil.copy(made_clip, folder / "clip.mp4")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(folder)
    return CommandLine(folder, monkeypatch, capfd)


def test_a_model_of_random_weights_locates_nothing_unless_it_must(vidtag, models):
    _, drawn = models
    truth = vidtag.folder / "truth.csv"
    truth.write_text("time_s,lat,lon\n0,1,2\n4,1,2\n")
    for arguments in (("locate", "clip.mp4"), ("eval", "clip.mp4", "--truth", truth)):
        done = vidtag(*arguments, "--model", drawn)
        assert done.returncode == 6
        assert "the weights of this model are random" in done.stderr
        assert "--allow-random-weights" in done.stderr
    forced = vidtag("locate", "clip.mp4", "--model", drawn, "--allow-random-weights", "--json", "-q")
    assert forced.returncode == 0
    assert json.loads(forced.stdout)["inputs"][0]["limitations"][0].startswith("The weights of this model are random")
    assert "The weights of this model are random" in forced.stderr
    assert vidtag("bench", "clip.mp4", "--model", drawn, "--rounds", 1, "--json", "-q").returncode == 0


def test_caveats_stand_in_every_output(vidtag, models):
    trained, _ = models
    table = vidtag("locate", "clip.mp4", "--model", trained, "--shots", "whole", "-q")
    assert f"# {LIMITATION}" in table.stdout
    assert "# Cuts were not looked for" in table.stdout
    assert table.stderr == "vidtag: clip.mp4: Cuts were not looked for: the whole video was taken for one shot.\n"
    assert vidtag("locate", "clip.mp4", "--model", trained, "-q").stderr == ""
    as_json = vidtag("locate", "clip.mp4", "--model", trained, "--shots", "whole", "--json", "--out", "a.csv")
    assert any("Cuts were not looked for" in text for text in json.loads(as_json.stdout)["inputs"][0]["limitations"])
    with (vidtag.folder / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert all(row["caveats"].startswith(LIMITATION) and "Cuts were not looked for" in row["caveats"] for row in rows)


def test_other_places_are_said_with_the_belief_outside_them(vidtag, models):
    trained, _ = models
    (vidtag.folder / "points.csv").write_text("lat,lon\n48.8584,2.2945\n6.45,3.39\n")
    assert vidtag("gallery", "build", "places", "--points", "points.csv", "--model", trained, "-q").returncode == 0
    done = vidtag("locate", "clip.mp4", "--model", trained, "--gallery", "places", "--json", "-q", "--out", "a.gpx")
    assert "Only 2 places were searched" in done.stderr
    assert "Not measured with these places" in done.stderr
    estimates = json.loads(done.stdout)["inputs"][0]["estimates"]
    assert all(0.0 <= estimate["belief_outside"] <= 1.0 for estimate in estimates)
    gallery = json.loads((vidtag.folder / "a.report.json").read_text())["method"]["gallery"]
    assert gallery["searched_beside"]["points_outside"] == 2
    assert gallery["searched_beside"]["max_share_outside"] == 0.05


def test_borders_are_said_and_can_be_kept(vidtag, models):
    trained, _ = models
    source = "color=gray:size=96x64:rate=4:duration=3,format=yuv444p,noise=alls=90:allf=t:all_seed=3,pad=96:96:0:16"
    command = [
        str(find_ffmpeg().path),
        "-nostdin",
        "-loglevel",
        "error",
        "-f",
        "lavfi",
        "-i",
        source,
        "-c:v",
        "libx264",
    ]
    subprocess.run([*command, "-pix_fmt", "yuv420p", str(vidtag.folder / "bars.mp4")], check=True)
    done = vidtag("locate", "bars.mp4", "--model", trained, "--json", "--out", "a.gpx")
    assert "borders were cut away (0 px at the left, 16 px at the top" in done.stderr
    borders = json.loads(done.stdout)["inputs"][0]["borders"]
    assert (borders["source"], borders["top_px"], borders["bottom_px"]) == ("found", 16, 16)
    parameters = json.loads((vidtag.folder / "a.report.json").read_text())["method"]["parameters"]
    assert parameters["borders"] == borders
    kept = vidtag("locate", "bars.mp4", "--model", trained, "--json", "--borders", "keep")
    assert json.loads(kept.stdout)["inputs"][0]["borders"]["source"] == "kept"
    assert "borders were cut" not in kept.stderr
    given = vidtag("locate", "bars.mp4", "--model", trained, "--json", "--borders", "2,4,6,8")
    assert json.loads(given.stdout)["inputs"][0]["borders"]["right_px"] == 6
    assert vidtag("locate", "bars.mp4", "--model", trained, "--borders", "some").returncode == 2
