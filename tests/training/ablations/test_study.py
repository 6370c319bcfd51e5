"""A whole study by its command, from features in the store's own format, at a few columns and steps."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from flyover_run import FLIGHTS, PLAN, read_study, write_flyover_run
from safetensors.numpy import load_file
from typer.testing import CliRunner

from training.__main__ import app
from training.evaluation.predictions import load_predictions

GALLERY_KM = "400"
ROWS = ("clip_only", "dino_tempgeo", "tempgeo", "georefiner", "frames_4", "equal_earth", "planet", "isns", "geodecoder")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flyover")
    (folder / "plan.toml").write_text(PLAN, "utf-8")
    return write_flyover_run(folder)


def arguments(run, out, *more):
    plan = str(run / "plan.toml")
    return ["ablations", "--run", str(run), "--out", str(out), "--plan", plan, "--gallery-km", GALLERY_KM, *more]


def study(run, out, *more):
    result = CliRunner().invoke(app, arguments(run, out, *more), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    study(run, out, "--seeds", "2")
    return out


def test_every_row_is_in_the_tables_with_its_seeds(whole):
    document = read_study(whole)
    assert tuple(document["rows"]) == ROWS
    assert document["study"]["seeds"] == 2
    assert document["study"]["training_flights"] == FLIGHTS["train"]
    for name in ROWS:
        found = document["rows"][name]["subsets"]["test"]
        assert (found["flights"], found["frames"]) == (FLIGHTS["test"], FLIGHTS["test"] * 16)
        median = found["metrics"]["median_km"]
        assert median["mean"] == pytest.approx(np.mean(median["by_seed"]))
        assert median["spread"] == pytest.approx(np.std(median["by_seed"], ddof=1))
        assert len(set(median["by_seed"])) == 2  # another seed is another training
        assert median["interval95"][0] <= median["mean"] <= median["interval95"][1]
    text = (whole / "ablations.md").read_text("utf-8")
    assert "| paper: frames, median km |" in text
    assert "| 1.91 |" in text  # DINOv2 + TempGeo in the paper's table 4
    assert text.count("holds") + text.count("does not hold") >= 2


def test_the_verdicts_are_those_of_the_numbers(whole):
    document = read_study(whole)
    for ordering in document["orderings"]:
        values = [
            document["rows"][name]["subsets"][ordering["subset"]]["metrics"][ordering["metric"]]["mean"]
            for name in ordering["order"]
        ]
        assert ordering["holds"] == (values[0] < values[1])
        assert ("**holds**" if ordering["holds"] else "**does not hold**") in ordering["sentence"]


def test_near_the_antimeridian_are_fiji_chukotka_and_some_test_flights(whole, run):
    subsets = read_study(whole)["rows"]["equal_earth"]["subsets"]
    assert set(subsets) == {"test", "antimeridian", "fiji", "blue_marble"}
    assert subsets["fiji"]["flights"] == FLIGHTS["fiji"]
    both = FLIGHTS["fiji"] + FLIGHTS["chukotka"]
    assert both <= subsets["antimeridian"]["flights"] <= both + FLIGHTS["test"]


def test_predictions_are_files_that_evaluate_reads(whole):
    paths = sorted((whole / "predictions" / "equal_earth").rglob("fiji.npz"))
    assert len(paths) == 2
    found = load_predictions(paths[0])
    assert found.info.dataset == "flyover fiji"
    assert (np.abs(found.predicted_latlon_deg[:, 1]) <= 180.0).all()  # searched under both longitudes, told under one


def test_rows_of_equal_training_share_it(whole):
    """Eight trainings for each seed: georefiner has tempgeo's Phase I."""
    assert len(list((whole / "phase_one").iterdir())) == 2 * 5
    assert len(list((whole / "phase_two").iterdir())) == 2
    assert len(list((whole / "classifiers").iterdir())) == 2 * 3


def test_what_is_finished_is_not_trained_again(whole, run, monkeypatch):
    import training.phases.loop

    def refuse(*args):
        raise AssertionError("a step was run though everything is finished")

    monkeypatch.setattr(training.phases.loop, "step_seed", refuse)
    before = (whole / "ablations.json").read_bytes()
    study(run, whole, "--seeds", "2")
    assert (whole / "ablations.json").read_bytes() == before


def test_a_row_alone_gives_what_it_gives_among_all(whole, run, tmp_path):
    study(run, tmp_path, "--seeds", "1", "--rows", "georefiner")
    alone, among = read_study(tmp_path), read_study(whole)
    assert list(alone["rows"]) == ["georefiner"]
    median = [each["rows"]["georefiner"]["subsets"]["test"]["metrics"]["median_km"] for each in (alone, among)]
    assert median[0]["by_seed"][0] == median[1]["by_seed"][0]
    assert median[0]["spread"] is None
    assert {ordering["holds"] for ordering in alone["orderings"]} == {None}
    assert "not judged" in (tmp_path / "ablations.md").read_text("utf-8")


def test_rows_trained_one_after_the_other_come_into_one_table(run, tmp_path):
    study(run, tmp_path, "--seeds", "1", "--rows", "clip_only")
    study(run, tmp_path, "--seeds", "1", "--rows", "planet")
    assert list(read_study(tmp_path)["rows"]) == ["clip_only", "planet"]


def test_a_killed_study_goes_on_to_the_same_weights(whole, run, tmp_path):
    killer = (
        "import os, signal, sys, torch, training.phases.loop as loop\n"
        f"torch.set_num_threads({torch.get_num_threads()})\n"  # sums of other partitions round otherwise
        "begun, seed_of = [0], loop.step_seed\n"
        "def counted(*args):\n"
        "    begun[0] += 1\n"
        "    if begun[0] == 9: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return seed_of(*args)\n"
        "loop.step_seed = counted\n"
        "from training.__main__ import main\n"
        "main()\n"
    )
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", killer, *arguments(run, tmp_path, "--seeds", "1", "--rows", "georefiner")]
    killed = subprocess.run(command, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not (tmp_path / "ablations.md").exists()
    study(run, tmp_path, "--seeds", "1", "--rows", "georefiner")
    (mine,) = (tmp_path / "phase_two").glob("*/phase_two.safetensors")
    uninterrupted = load_file(whole / mine.relative_to(tmp_path))
    assert all(np.array_equal(value, uninterrupted[name]) for name, value in load_file(mine).items())


def test_shorter_trainings_are_others_and_said_so(whole, run, tmp_path):
    study(run, tmp_path, "--seeds", "1", "--rows", "clip_only,planet", "--steps-factor", "0.5")
    facts = read_study(tmp_path)["study"]
    assert (facts["steps_factor"], facts["phase_one_steps"]) == (0.5, 3)
    assert "- steps factor: 0.5" in (tmp_path / "ablations.md").read_text("utf-8")
    for kind in ("phase_one", "classifiers"):
        shorter, longer = ({path.name for path in (out / kind).iterdir()} for out in (tmp_path, whole))
        assert len(shorter) == 1
        assert not shorter & longer


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--rows", "nobody"), "no row is called nobody"),
        (("--steps-factor", "0"), "above 0"),
        (("--preset", "flyover"), "columns, preset flyover"),
    ],
)
def test_what_cannot_be_studied_is_refused(run, tmp_path, more, message):
    result = CliRunner().invoke(app, arguments(run, tmp_path, *more))
    assert message in str(result.exception)


def test_a_folder_that_is_no_run_is_named(tmp_path):
    result = CliRunner().invoke(app, ["ablations", "--run", str(tmp_path / "empty"), "--out", str(tmp_path / "out")])
    assert "python -m training flyover --out" in str(result.exception)
    assert result.exception.exit_code == 3
