from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vidtag_cli import __version__
from vidtag_cli.commands.app import COMMANDS, EXIT_CODES, GROUPS, build_app

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


@pytest.mark.parametrize("name", [name for name, _, _ in (*COMMANDS, *GROUPS)])
def test_every_command_answers_to_h(name):
    done = vidtag(name, "-h")
    assert done.exit_code == 0
    assert f"Usage: vidtag {name}" in done.stdout


def test_no_command_is_wrong_usage():
    assert vidtag().exit_code == 2


def test_the_version_is_that_of_the_package():
    assert vidtag("--version").stdout == f"vidtag {__version__}\n"


def test_help_imports_nothing_that_only_a_run_needs():
    script = (
        "import sys; from vidtag_cli.__main__ import main; main(['--help']); "
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
