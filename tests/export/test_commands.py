"""From a run's folder to a bundle, as the command does it."""

import pytest
from typer.testing import CliRunner

import export.bundle
from export.__main__ import app
from export.bundle import ABOUT_FOLDER, read_about
from export.graphs.graph_files import GraphFile
from training.config_files import PRESET_FOLDER
from training.run.folder import RunFolder, write_run
from vidtag_cli.errors import InputError


@pytest.fixture
def run_folder(flyover_run, tmp_path):
    """Return a folder as training leaves it."""
    write_run(RunFolder(tmp_path / "run"), flyover_run)
    return tmp_path / "run"


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
