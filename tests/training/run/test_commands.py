"""``python -m training train`` from an MSLS tree on disk, and ``benchmark``, at a few pixels."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from data_trees import write_msls_side
from small_preset import save_backbones, small_preset
from told import messages_of
from typer.testing import CliRunner

from export.__main__ import app as export_app
from export.bundle import ABOUT_FOLDER
from training.__main__ import app
from training.config_files import load_config
from training.evaluation.predictions import load_predictions
from training.run.benchmark import time_phases, timing_report
from training.run.commands import open_data, parse_data
from vidtag_cli.bundle.load import load_bundle
from vidtag_cli.errors import InputError, UsageError
from vidtag_cli.pipeline.calibration import UncalibratedRule, read_rule

TINY = """
base = "paper"
name = "tiny"

[model]
frame_size_px = 28
embed_dim = 16
stem_hidden = 12
mlp_hidden = [20]
heads = 2

[model.clip]
embed_dim = 8
width = 16
layers = 1
head_width = 8

[model.dino]
embed_dim = 8
layers = 1
heads = 2
image_size = 28

[model.location]
kind = "sphere"
sigmas = [1.0, 4.0]
frequencies = 8
hidden = 16
start = "random"

[gallery] # not a multiple of the step: all tracks begin at one point, which the grid would hit and so leak
padding_km = 0.83

[phase_one]
epochs = 2
batch_clips = 4
micro_clips = 2
warmup_steps = 2

[phase_two]
epochs = 1
batch_clips = 4
micro_clips = 2
warmup_steps = 2
"""


SEQUENCES = 12
"""Of each of two cities; of the 24 names the hash holds out at least one."""


@pytest.fixture(scope="module")
def msls(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "msls"
    cities = {"tokyo": (35.6, 139.7), "sf": (37.7, -122.4)}
    for city, (lat, lon) in cities.items():
        sequences = {f"{city}{n}": 17 for n in range(SEQUENCES)}
        write_msls_side(root / "train_val" / city / "database", sequences, lat=lat, lon=lon)
    return root


def train_command(folder, data, clip, second):
    return [
        "train", "--preset", str(folder / "tiny.toml"), "--data", f"msls={data}", "--cache", str(folder / "cache"),
        "--out", str(folder / "run"), "--clip", clip, "--second", second, "--readers", "1",
    ]  # fmt: skip


def invoke(*command):
    result = CliRunner().invoke(app, [str(part) for part in command], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def trained(tmp_path_factory, msls):
    """Return a folder with a finished run of the command on MSLS in its true layout."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.toml").write_text(TINY, "utf-8")
    with messages_of("training") as messages:
        invoke(*train_command(folder, msls, *save_backbones(folder)))
    (folder / "last_words.txt").write_text(messages[-1], "utf-8")
    return folder


def test_train_makes_a_model_of_a_data_set_on_disk(trained):
    run = trained / "run"
    assert json.loads((run / "data" / "msls.json").read_text())["kept"]["sequence"] == 2 * SEQUENCES
    record = json.loads((run / "run.json").read_text())["data"]["msls"]
    splits = json.loads((run / "final" / "splits.json").read_text())["msls"]
    assert record["training"] == len(splits["train"])
    assert len(splits["train"]) + len(splits["held_out"]) == 2 * SEQUENCES
    assert splits["held_out"]
    gallery = np.load(run / "final" / "gallery_latlon.npy")
    assert {tuple(place) for place in np.unique(gallery.round(0), axis=0)} == {(36.0, 140.0), (38.0, -122.0)}
    phases = [(run / phase / "log.csv").is_file() for phase in ("phase_one", "phase_two")]
    assert phases == [True, True]


@pytest.mark.parametrize("entries", [["msls"], ["=x"], ["msls="], ["msls=a", "msls=b"], ["my set=a"]])
def test_data_is_name_and_path(entries):
    with pytest.raises(UsageError, match="NAME=PATH"):
        parse_data(entries)
    assert parse_data(["msls=a", "mine=b=c"]) == {"msls": Path("a"), "mine": Path("b=c")}


def test_a_run_locates_what_it_did_not_train_on_and_is_evaluated(trained, msls, tmp_path):
    clip, second = str(trained / "clip.safetensors"), str(trained / "dino")
    run = ["--run", trained / "run", "--cache", trained / "cache", "--out", tmp_path]
    invoke("predict", *run, "--data", f"msls={msls}", "--clip", clip, "--second", second, "--readers", "1")
    whole = load_predictions(tmp_path / "msls.npz")
    held_out = json.loads((trained / "run" / "final" / "splits.json").read_text())["msls"]["held_out"]
    assert list(whole.keys) == held_out
    assert set(whole.frames_per_clip()) == {17}
    assert not whole.info.leak.leaks
    gallery = {tuple(place) for place in np.load(trained / "run" / "final" / "gallery_latlon.npy").round(9)}
    assert {tuple(place) for place in whole.predicted_latlon_deg.round(9)} <= gallery

    invoke("evaluate", tmp_path / "msls.npz", "--out", tmp_path / "tables", "--no-figures")
    document = json.loads((tmp_path / "tables" / "evaluation.json").read_text())
    assert document["sections"]["Overall"]["paper_table"] == "1"
    (measured,) = document["sections"]["Overall"]["measured"]
    assert (measured["clips"], measured["frames"]) == (len(held_out), 17 * len(held_out))
    assert measured["values"]["frame_median"]["value"] > 0.0

    invoke("predict", *run, "--data", "msls", "--frames", "16", "--phase-one")  # from the cache alone
    assert set(load_predictions(tmp_path / "msls.npz").frames_per_clip()) == {16}


def test_a_gallery_of_the_answers_must_be_allowed(trained, tmp_path):
    command = ["predict", "--run", trained / "run", "--cache", trained / "cache", "--out", tmp_path, "--data", "msls",
               "--gallery"]  # fmt: skip
    refused = CliRunner().invoke(app, [str(part) for part in (*command, "validation")])
    assert isinstance(refused.exception, UsageError)
    assert "holds query coordinates" in str(refused.exception)
    invoke(*command, "validation", "--allow-leak")
    assert load_predictions(tmp_path / "msls.npz").info.leak.leaks
    np.save(tmp_path / "towns.npy", np.array([[35.6, 139.7], [37.7, -122.4]]) + 0.003)
    invoke(*command, tmp_path / "towns.npy")
    assert load_predictions(tmp_path / "msls.npz").info.gallery == "towns"
    missing = CliRunner().invoke(app, [str(part) for part in (*command, tmp_path / "absent.npy")])
    assert isinstance(missing.exception, InputError)


@pytest.mark.slow
def test_the_command_that_train_names_makes_a_bundle(trained, tmp_path, monkeypatch):
    """The trained heads and backbones through ONNX, held against torch, and read by the runtime."""
    python, _, program, *command = shlex.split((trained / "last_words.txt").read_text("utf-8").partition("with: ")[2])
    assert (python, program) == ("python", "export")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "STATEMENTS.toml").write_bytes((ABOUT_FOLDER / "paper.toml").read_bytes())
    out = Path("tiny.vidtag")
    result = CliRunner().invoke(export_app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    bundle = load_bundle(out)
    assert isinstance(read_rule(bundle), UncalibratedRule)
    assert bundle.contract.metrics["held_out_clips"] >= 1.0
    assert json.loads((out / "parity.json").read_text())["passed"] is True


def test_too_few_sequences_are_explained_with_their_reasons(tmp_path):
    root = tmp_path / "msls"
    write_msls_side(root / "train_val" / "tokyo" / "database", {"long": 17, "short": 5, "shorter": 3})
    (tmp_path / "tiny.toml").write_text(TINY, "utf-8")
    result = CliRunner().invoke(app, train_command(tmp_path, root, "absent", "absent"))
    assert isinstance(result.exception, InputError)
    message = str(result.exception)
    assert result.exception.exit_code == 3
    assert message.startswith("too little to train from: 1 of the 4 sequences that a batch takes:")
    assert "2 x sequence sequence_short (msls/tokyo/short: 5 frames)" in message
    assert "8 x frame sequence_short" in message
    assert f"Full report: {tmp_path / 'run' / 'data' / 'msls.json'}" in message
    assert "python -m training data check" in message
    assert json.loads((tmp_path / "run" / "data" / "msls.json").read_text())["kept"]["sequence"] == 1


def test_a_label_leaves_the_kind_to_the_layout(tmp_path, msls):
    sets = open_data([f"streets={msls}"], load_config("paper"), None)
    assert [sample.key for sample in sets["streets"].samples][:1] == ["msls/sf/sf0"]


def test_the_benchmark_times_a_step_of_each_phase():
    import torch

    config = small_preset()
    timings = time_phases(config, torch.device("cpu"), steps=2)
    assert [timing.phase for timing in timings] == ["Phase I", "Phase II"]
    assert all(timing.seconds > 0.0 and timing.peak_memory_gb > 0.05 for timing in timings)
    assert all(timing.peak_device_memory_gb is None for timing in timings)
    report = timing_report(timings, config)
    assert "s a step" in report
    assert "2.75 h on an A6000" in report
