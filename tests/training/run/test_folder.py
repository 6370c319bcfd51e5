"""What a run leaves behind, and what is said of a folder that is none."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from small_preset import small_preset

from training.config_files import config_json
from training.model.vidtag import build_model
from training.run.folder import FinishedRun, RunFolder, read_run, write_run
from vidtag_cli.bundle.contract import Calibration
from vidtag_cli.errors import InputError


@pytest.fixture(scope="module")
def finished():
    config = small_preset()
    width = config.model.feature_dim
    torch.manual_seed(0)
    return FinishedRun(
        config=config, model=build_model(config.model).eval(), gallery_latlon_deg=np.array([[1.0, 2.0], [3.0, -180.0]]),
        calibration=Calibration({"posterior_scale": 20.0}, {"levels": [0.5, 0.95]}, "made up", {"coverage95": 0.95}),
        domain_arrays={"mean": np.zeros(width, np.float32), "whitening": np.eye(width, dtype=np.float32)},
        metrics={"median_km": 75.0}, parity_frames_rgb=None,
    )  # fmt: skip


@pytest.fixture
def run_folder(finished, tmp_path):
    """Return a folder as training leaves it."""
    write_run(RunFolder(tmp_path / "run"), finished)
    return tmp_path / "run"


def test_a_run_reads_back(run_folder, finished):
    run = read_run(run_folder)
    assert run.config == finished.config
    assert run.calibration == finished.calibration
    assert run.metrics == finished.metrics
    assert np.array_equal(run.gallery_latlon_deg, finished.gallery_latlon_deg)
    assert set(run.domain_arrays) == {"mean", "whitening"}
    assert run.parity_frames_rgb is None
    state = run.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in finished.model.state_dict().items())
    assert not run.model.training


def test_pictures_read_back(finished, tmp_path):
    frames_rgb = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    write_run(RunFolder(tmp_path), dataclasses.replace(finished, parity_frames_rgb=frames_rgb), results="# Results\n")
    assert np.array_equal(read_run(tmp_path).parity_frames_rgb, frames_rgb)
    assert (tmp_path / "final" / "results.md").read_text("utf-8") == "# Results\n"


def test_the_folder_of_the_final_model_will_do(run_folder, finished):
    assert read_run(run_folder / "final").config.name == finished.config.name


@pytest.mark.parametrize(
    "name",
    ["weights.safetensors", "config.json", "calibration.json", "metrics.json", "gallery_latlon.npy", "domain.npz"],
)
def test_a_missing_file_is_named(run_folder, name):
    (run_folder / "final" / name).unlink()
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        read_run(run_folder)


def test_weights_of_another_configuration_are_refused(run_folder, finished):
    model = dataclasses.replace(finished.config.model, stem_hidden=2 * finished.config.model.stem_hidden)
    other = dataclasses.replace(finished.config, model=model)
    (run_folder / "final" / "config.json").write_text(config_json(other), "utf-8")
    with pytest.raises(InputError, match="not the weights of the configuration"):
        read_run(run_folder)


def test_an_unknown_key_of_the_configuration_is_refused(run_folder):
    path = run_folder / "final" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sede": 1}), "utf-8")
    with pytest.raises(InputError, match="sede"):
        read_run(run_folder)


def test_pickled_arrays_are_not_opened(run_folder):
    np.save(run_folder / "final" / "gallery_latlon.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="not an array"):
        read_run(run_folder)
