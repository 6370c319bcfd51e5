"""``python -m training train`` from an MSLS tree on disk, and ``benchmark``, at a few pixels."""

import json
from pathlib import Path

import numpy as np
import pytest
from data_trees import write_msls_side
from small_preset import save_backbones, small_preset
from typer.testing import CliRunner

from training.__main__ import app
from training.benchmark import time_phases, timing_report
from training.commands import open_data, parse_data
from training.config import load_config
from vidtag_cli.errors import UsageError

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


@pytest.fixture
def msls(tmp_path):
    cities = {"tokyo": (35.6, 139.7), "sf": (37.7, -122.4)}
    for city, (lat, lon) in cities.items():
        write_msls_side(
            tmp_path / "msls" / "train_val" / city / "database", {f"{city}{n}": 17 for n in range(6)}, lat=lat, lon=lon
        )
    return tmp_path / "msls"


def test_train_makes_a_model_of_a_data_set_on_disk(tmp_path, msls):
    (tmp_path / "tiny.toml").write_text(TINY, "utf-8")
    clip, second = save_backbones(tmp_path)
    command = [
        "train", "--preset", str(tmp_path / "tiny.toml"), "--data", f"msls={msls}", "--cache", str(tmp_path / "cache"),
        "--out", str(tmp_path / "run"), "--clip", clip, "--second", second, "--readers", "1",
    ]  # fmt: skip
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    run = tmp_path / "run"
    assert json.loads((run / "data" / "msls.json").read_text())["kept"]["sequence"] == 12
    record = json.loads((run / "run.json").read_text())["data"]["msls"]
    splits = json.loads((run / "final" / "splits.json").read_text())["msls"]
    assert record["training"] == len(splits["train"])
    assert len(splits["train"]) + len(splits["held_out"]) == 12
    gallery = np.load(run / "final" / "gallery_latlon.npy")
    assert {tuple(place) for place in np.unique(gallery.round(0), axis=0)} == {(36.0, 140.0), (38.0, -122.0)}
    phases = [(run / phase / "log.csv").is_file() for phase in ("phase_one", "phase_two")]
    assert phases == [True, True]


@pytest.mark.parametrize("entries", [["msls"], ["=x"], ["msls="], ["msls=a", "msls=b"], ["my set=a"]])
def test_data_is_name_and_path(entries):
    with pytest.raises(UsageError, match="NAME=PATH"):
        parse_data(entries)
    assert parse_data(["msls=a", "mine=b=c"]) == {"msls": Path("a"), "mine": Path("b=c")}


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
