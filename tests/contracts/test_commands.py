"""Every command: documented, quick to explain itself, free of surprises."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from vidtag_cli.commands.app import COMMANDS, GROUPS

ROOT = Path(__file__).parents[2]
NAMES = [name for name, *_ in (*COMMANDS, *GROUPS)]


def vidtag(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "vidtag_cli", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_explains_itself(name, flag):
    done = vidtag(name, flag)
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_in_the_readme(name):
    assert re.search(rf"vidtag {name}\b", (ROOT / "README.md").read_text("utf-8"))


def test_the_exit_codes_are_published():
    text = vidtag("--help").stdout
    for code in range(10):
        assert re.search(rf"^\s+{code}  ", text, re.MULTILINE), f"exit code {code} is not in --help"


def test_help_imports_nothing_heavy():
    """What makes --help slow; the time itself is a benchmark's business."""
    script = (
        "import sys\nfrom vidtag_cli.commands.app import build_app\nbuild_app()\n"
        "heavy = {'numpy', 'onnxruntime', 'faiss', 'av', 'lxml', 'torch'} & set(sys.modules)\n"
        "print(*sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []
