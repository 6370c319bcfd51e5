from __future__ import annotations

import json

import pytest
import typer
from tiny_bundle import write_tiny_bundle
from typer.testing import CliRunner

from vidtag_cli.bundle import registry
from vidtag_cli.commands.models import app
from vidtag_cli.errors import ModelError, OutputError


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(registry, "PACKAGED_MODELS_DIR", tmp_path / "packaged")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def source(machine):
    return write_tiny_bundle(machine / "downloads")


def models(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_an_empty_machine_lists_nothing_and_says_what_to_do():
    done = models("list")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "vidtag models install PATH" in done.stderr
    assert json.loads(models("list", "--json").stdout) == {"models": []}


def test_install_then_list_info_verify(source):
    done = models("install", source, "--json")
    target = json.loads(done.stdout)
    assert target["name"] == "tiny"
    (listed,) = json.loads(models("list", "--json").stdout)["models"]
    assert (listed["name"], listed["kind"], listed["origin"], listed["problem"]) == ("tiny", "vidtag", "installed", "")
    assert listed["path"] == target["path"]
    assert "tiny" in models("list").stdout

    info = json.loads(models("info", "tiny", "--json").stdout)
    assert info["bundle"]["domain"] == "random weights; knows nothing"
    assert info["bundle"]["window"] == {"frames": 16, "overlap_frames": 8}
    assert "random weights; knows nothing" in models("info", "tiny").stdout

    verified = json.loads(models("verify", "tiny", "--json").stdout)
    assert verified["ok"] is True
    assert {entry["status"] for entry in verified["files"]} == {"ok"}
    assert verified["sha256"] == info["sha256"]


def test_a_changed_file_is_shown_and_ends_with_6(source):
    (source / "tempgeo.onnx").write_bytes(b"x")
    done = models("verify", source)
    assert isinstance(done.exception, ModelError) and "tempgeo.onnx" in str(done.exception)
    assert "changed" in done.stdout
    as_json = models("verify", source, "--json")
    assert as_json.exit_code == 6
    assert as_json.stdout.count("\n") == 1
    assert json.loads(as_json.stdout)["ok"] is False


def test_installing_twice_needs_force(source):
    models("install", source)
    again = models("install", source)
    assert isinstance(again.exception, OutputError)
    assert models("install", source, "--force").exit_code == 0


def test_a_hostile_description_cannot_steer_the_terminal(machine):
    source = write_tiny_bundle(machine / "downloads", domain="\x1b]0;owned\x07", version="\x1b[31m")
    for command in (("info", source), ("install", source), ("list",)):
        assert "\x1b" not in models(*command).stdout


def test_the_group_has_a_help_text():
    main = typer.Typer(rich_markup_mode=None)
    main.add_typer(app, name="models")
    done = CliRunner().invoke(main, ["models", "--help"])
    assert all(name in done.stdout for name in ("list", "info", "verify", "install"))
