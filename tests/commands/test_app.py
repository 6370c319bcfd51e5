from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_type_hints

import pytest
from typer.testing import CliRunner

from vidtag_cli import DISTRIBUTION, __version__
from vidtag_cli.commands.app import COMMANDS, EXIT_CODES, GROUPS, build_app
from vidtag_cli.errors import ModelError

ROOT = Path(__file__).resolve().parents[2]

HEAVY = ("onnxruntime", "faiss", "av", "lxml", "numpy", "torch", "ffmpeg", "imageio_ffmpeg", "rich.progress")
"""Modules that only a run needs: importing one of them for --help is what makes a command line slow."""


def vidtag(*arguments):
    return CliRunner().invoke(build_app(), list(arguments), prog_name="vidtag")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_every_command_and_every_exit_code(option):
    done = vidtag(option)
    assert done.exit_code == 0
    for name, _, _ in (*COMMANDS, *GROUPS):
        assert re.search(rf"^  {name} ", done.stdout, re.MULTILINE), name
    for code, meaning in EXIT_CODES:
        assert re.search(rf"^ +{code} +{re.escape(meaning)}$", done.stdout, re.MULTILINE), code


def test_no_command_is_wrong_usage():
    assert vidtag().exit_code == 2


def test_the_version_is_that_of_the_package():
    assert vidtag("--version").stdout == f"vidtag {__version__} (vidtag-geo)\n"


def test_the_distribution_is_called_as_pip_calls_it():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"] == DISTRIBUTION


def commands():
    """Return every command's name and function, those of groups too."""
    for name, module, attribute in COMMANDS:
        yield name, getattr(importlib.import_module(module), attribute)
    for name, module, attribute in GROUPS:
        for command in getattr(importlib.import_module(module), attribute).registered_commands:
            yield f"{name} {command.name}", command.callback


@pytest.mark.parametrize(("name", "function"), list(commands()))
def test_no_path_is_refused_before_its_command_sees_it(name, function):
    """Typer's own check is wrong usage for the whole batch, where the command has a code for the one file."""
    for parameter, annotation in get_type_hints(function, include_extras=True).items():
        for setting in getattr(annotation, "__metadata__", ()):
            if "Path" in str(annotation.__origin__):
                assert setting.readable is False, parameter


def test_a_file_without_permission_is_the_commands_own_business(tmp_path, monkeypatch):
    """Root may read everything, so the system's answer is played."""
    (tmp_path / "clip.mp4").touch()
    monkeypatch.setattr(os, "access", lambda path, mode, **kwargs: False)
    monkeypatch.setenv("VIDTAG_MODEL", "none-of-this-name")
    done = vidtag("locate", str(tmp_path / "clip.mp4"))
    assert isinstance(done.exception, ModelError), done.output


def test_help_imports_nothing_that_only_a_run_needs():
    script = (
        "import sys; from vidtag_cli.__main__ import main; main(['--help']); "
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
