"""From a run's folder to a bundle, as the command does it."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import export.bundle
from export.__main__ import app
from export.about_model import ABOUT_FOLDER, read_about
from export.graphs.graph_files import GraphFile
from training.checkpoint import save_weights
from training.config import PRESET_FOLDER, config_json
from training.run.folder import read_run
from vidtag_cli.errors import InputError


@pytest.fixture
def run_folder(flyover_model, flyover_config, flyover_parts, tmp_path):
    """Return a folder as training leaves it."""
    final = tmp_path / "run" / "final"
    save_weights(final / "weights.safetensors", flyover_model.state_dict())
    (final / "config.json").write_text(config_json(flyover_config), "utf-8")
    (final / "calibration.json").write_text(json.dumps(dataclasses.asdict(flyover_parts["calibration"])), "utf-8")
    (final / "metrics.json").write_text(json.dumps(flyover_parts["metrics"]), "utf-8")
    np.save(final / "gallery_latlon.npy", flyover_parts["gallery_latlon_deg"])
    np.savez(final / "domain.npz", **flyover_parts["domain_arrays"])
    return tmp_path / "run"


def test_a_run_reads_back(run_folder, flyover_model, flyover_config, flyover_parts):
    run = read_run(run_folder)
    assert run.config == flyover_config
    assert run.calibration == flyover_parts["calibration"]
    assert run.metrics == flyover_parts["metrics"]
    assert np.array_equal(run.gallery_latlon_deg, flyover_parts["gallery_latlon_deg"])
    assert set(run.domain_arrays) == {"mean", "whitening"}
    assert run.parity_frames_rgb is None
    state = run.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in flyover_model.state_dict().items())
    assert not run.model.training


def test_the_folder_of_the_final_model_will_do(run_folder):
    assert read_run(run_folder / "final").config.name == "flyover"


@pytest.mark.parametrize(
    "name",
    ["weights.safetensors", "config.json", "calibration.json", "metrics.json", "gallery_latlon.npy", "domain.npz"],
)
def test_a_missing_file_is_named(run_folder, name):
    (run_folder / "final" / name).unlink()
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        read_run(run_folder)


def test_weights_of_another_configuration_are_refused(run_folder, flyover_config):
    smaller = dataclasses.replace(flyover_config, model=dataclasses.replace(flyover_config.model, stem_hidden=128))
    (run_folder / "final" / "config.json").write_text(config_json(smaller), "utf-8")
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


def ready_graphs(bundle):
    """Return a stand-in for the export: the bundle's own graphs, there already."""

    def write(model, frame_size_px, folder, **options):
        paths = [folder / graph.path.name for graph in bundle.graphs.values()]
        for path, graph in zip(paths, bundle.graphs.values(), strict=True):
            path.write_bytes(graph.path.read_bytes())
        return [GraphFile(name, "fp32", (path,)) for name, path in zip(bundle.graphs, paths, strict=True)]

    return write


def test_the_commands_make_a_bundle_and_compare_it(run_folder, flyover_export, tmp_path, monkeypatch):
    bundle, _ = flyover_export

    monkeypatch.setattr(export.bundle, "write_graphs", ready_graphs(bundle))
    out = tmp_path / "made.vidtag"
    made = CliRunner().invoke(app, ["bundle", str(run_folder), "--out", str(out)], catch_exceptions=False)
    assert made.exit_code == 0
    assert "made.vidtag" in made.output
    compared = CliRunner().invoke(app, ["parity", str(out), "--run", str(run_folder)], catch_exceptions=False)
    assert compared.exit_code == 0
    assert "georefiner" in compared.output


@pytest.mark.parametrize("preset", sorted(path.stem for path in PRESET_FOLDER.glob("*.toml")))
def test_every_preset_has_its_statements(preset):
    about = read_about(preset)
    assert about.data
    assert about.licences
    assert about.window_frames > about.overlap_frames


def test_statements_are_read_strictly(tmp_path):
    path = tmp_path / "about.toml"
    path.write_text((ABOUT_FOLDER / "flyover.toml").read_text("utf-8") + '\nauthor = "me"\n', "utf-8")
    with pytest.raises(InputError, match="author"):
        read_about("flyover", path)
    with pytest.raises(InputError, match="nobody"):
        read_about("nobody")
