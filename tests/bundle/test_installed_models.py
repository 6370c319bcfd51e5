from __future__ import annotations

import json
import os

import pytest
from tiny_bundle import write_tiny_bundle

from vidtag_cli import files
from vidtag_cli.bundle import find_model, install_model, installed_models, list_models, load_bundle
from vidtag_cli.bundle.contract import BUNDLE_JSON
from vidtag_cli.errors import ModelError, OutputError, UsageError


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """An empty machine: nothing installed, one packaged toy model, an empty working folder."""
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VIDTAG_MODEL", raising=False)
    monkeypatch.setattr(installed_models, "PACKAGED_MODELS_DIR", tmp_path / "packaged")
    write_tiny_bundle(tmp_path / "packaged", "flyover")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.fixture
def source(machine):
    return write_tiny_bundle(machine / "downloads")


def test_no_model_is_chosen_by_itself_and_the_message_says_how_to_get_one(source):
    install_model(source)
    with pytest.raises(ModelError, match=r"no model is named.*vidtag models install PATH.*--model flyover"):
        find_model()


def test_the_order_is_argument_environment_project_user(machine, source, monkeypatch):
    for name in ("user", "project", "environment", "argument"):
        write_tiny_bundle(machine / "home" / "models", name)
    (machine / "home" / "vidtag.toml").write_text('model = "user"')
    assert find_model().stem == "user"
    (machine / "work" / "vidtag.toml").write_text('model = "project"')
    assert find_model().stem == "project"
    monkeypatch.setenv("VIDTAG_MODEL", "environment")
    assert find_model().stem == "environment"
    assert find_model("argument").stem == "argument"


def test_isolated_reads_no_configuration(machine):
    (machine / "work" / "vidtag.toml").write_text('model = "flyover"')
    assert find_model().stem == "flyover"
    with pytest.raises(ModelError, match="no model is named"):
        find_model(isolated=True)


def test_a_configured_path_counts_from_the_folder_of_the_file(machine, source):
    home = machine / "home"
    home.mkdir()
    (home / "vidtag.toml").write_text('model = "../downloads/tiny.vidtag"')
    assert load_bundle(find_model()).name == "tiny"


@pytest.mark.parametrize("text", ["model = 3", 'model = ""', "model =", 'modell = "tiny"', "[model]"])
def test_a_configuration_that_cannot_be_understood_is_an_error(machine, text):
    (machine / "work" / "vidtag.toml").write_text(text)
    with pytest.raises(UsageError, match=r"vidtag\.toml"):
        find_model()


def test_the_toy_model_is_found_when_named():
    assert load_bundle(find_model("flyover")).name == "flyover"


def test_a_folder_needs_a_slash_so_that_it_cannot_hide_a_model(machine, source):
    (machine / "work" / "flyover").mkdir()
    assert find_model("flyover") == machine / "packaged" / "flyover.vidtag"
    (machine / "work" / "mine").mkdir()
    with pytest.raises(ModelError, match=r"write \./mine to use it"):
        find_model("mine")
    assert find_model("./mine").name == "mine"


@pytest.mark.parametrize("text", ["nowhere", "./nowhere", "nowhere.vidtag", "../../etc"])
def test_what_is_not_there_is_named(text):
    with pytest.raises(ModelError, match="nowhere|etc"):
        find_model(text)


def test_the_message_says_where_a_missing_name_came_from(monkeypatch):
    monkeypatch.setenv("VIDTAG_MODEL", "gone")
    with pytest.raises(ModelError, match=r"gone \(from \$VIDTAG_MODEL\)"):
        find_model()


def test_an_installed_model_can_be_named_and_is_listed(source):
    target = install_model(source)
    assert find_model("tiny") == target
    assert load_bundle(target).name == "tiny"
    listed = {model.name: model.origin for model in list_models()}
    assert listed == {"flyover": "packaged", "tiny": "installed"}


def test_only_listed_files_are_copied(source):
    (source / "notes.txt").write_text("x")
    target = install_model(source)
    assert not (target / "notes.txt").exists()
    assert sorted(path.name for path in target.parent.iterdir()) == ["tiny.vidtag"]


def test_an_installed_model_is_replaced_only_with_force(machine, source):
    target = install_model(source)
    newer = write_tiny_bundle(machine / "newer", "tiny", version="2")
    with pytest.raises(OutputError, match="--force"):
        install_model(newer)
    assert list_models()[1].version == "1"
    install_model(newer, force=True)
    assert list_models()[1].version == "2"
    assert [path.name for path in target.parent.iterdir()] == ["tiny.vidtag"]


def test_a_damaged_source_changes_nothing(machine, source):
    install_model(source)
    broken = write_tiny_bundle(machine / "broken", "tiny", version="2")
    (broken / "tempgeo.onnx").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"tempgeo\.onnx: changed"):
        install_model(broken, force=True)
    assert load_bundle(find_model("tiny")).contract.version == "1"


def test_a_failed_rename_puts_the_old_model_back(machine, source, monkeypatch):
    target = install_model(source)
    newer = write_tiny_bundle(machine / "newer", "tiny", version="2")

    def fail(fresh, to):
        raise OSError("disk error")

    monkeypatch.setattr(files, "_put_folder", fail)
    with pytest.raises(OutputError, match="disk error"):
        install_model(newer, force=True)
    assert load_bundle(target).contract.version == "1"


def test_a_model_is_not_installed_over_itself(source):
    target = install_model(source)
    with pytest.raises(OutputError, match="itself"):
        install_model(target, force=True)
    load_bundle(target)


def test_a_broken_model_is_listed_with_its_problem(source):
    target = install_model(source)
    content = json.loads((target / BUNDLE_JSON).read_text())
    (target / BUNDLE_JSON).write_text(json.dumps(content | {"schema": "vidtag-bundle/9"}))
    problems = {model.name: model.problem for model in list_models()}
    assert "vidtag-bundle/9" in problems["tiny"] and problems["flyover"] == ""


@pytest.mark.parametrize("make", [
    lambda path: os.mkfifo(path), lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir(),
    lambda path: path.write_text("#" * (installed_models.MAX_CONFIG_BYTES + 1)),
    lambda path: path.write_text("model = " + "[" * 10_000),
], ids=["pipe", "device", "folder", "huge", "deep"])  # fmt: skip
def test_what_is_no_configuration_is_refused_and_never_waited_for(machine, make):
    make(machine / "work" / "vidtag.toml")
    with pytest.raises(UsageError, match=r"vidtag\.toml"):
        find_model()
