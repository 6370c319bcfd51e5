"""Standard streams that are closed or full, as a shell makes them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic_video import write_video
from tiny_bundle import write_tiny_bundle

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture
def shell(tmp_path):
    """Run Python with arguments and redirections, in an empty folder."""

    def run(redirections, *arguments, unbuffered=False, encoding=""):
        environment = {
            **os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1" if unbuffered else "", "PYTHONIOENCODING": encoding,
        }  # fmt: skip
        (tmp_path / "work").mkdir(exist_ok=True)
        return subprocess.run(
            ["bash", "-c", f'"$@" {redirections}', "bash", sys.executable, *map(str, arguments)],
            cwd=tmp_path / "work", env=environment, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip

    return run


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize("arguments", [("--help",), ("models", "list", "--json"), ("locate", "--help")])
def test_a_full_stdout_is_one_line_and_5(shell, arguments, unbuffered):
    done = shell(">/dev/full", "-m", "vidtag_cli", *arguments, unbuffered=unbuffered)
    assert done.returncode == 5
    (line,) = done.stderr.splitlines()
    assert "standard output cannot be written: No space left" in line


@pytest.mark.parametrize("arguments", [("--json",), ("--out", "-", "--format", "gpx"), ()])
def test_results_that_stdout_does_not_take_are_an_error(shell, model, clip, arguments):
    done = shell(">/dev/full", "-m", "vidtag_cli", "locate", clip, "--model", model, "-q", *arguments)
    assert done.returncode == 5
    (line,) = done.stderr.splitlines()
    assert "standard output cannot be written: No space left" in line


def test_an_error_keeps_its_code_when_stdout_is_full(shell, clip):
    done = shell(">/dev/full", "-m", "vidtag_cli", "locate", clip, "--model", "none-of-this-name", "--json")
    assert done.returncode == 6
    (line,) = done.stderr.splitlines()
    assert "none-of-this-name" in line


@pytest.mark.parametrize("redirections", [">&-", "2>&-", "2>/dev/full", ">&- 2>&- <&-"])
def test_a_run_is_done_without_the_streams_it_may_not_have(shell, tmp_path, model, clip, redirections):
    done = shell(redirections, "-m", "vidtag_cli", "locate", clip, "--model", model, "--out", "t.gpx", "--json")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["t.gpx", "t.report.json"]


@pytest.mark.parametrize("redirections", ["2>&-", "2>/dev/full"])
def test_an_error_that_cannot_be_said_keeps_its_code(shell, clip, redirections):
    arguments = ("-m", "vidtag_cli", "locate", clip, "--model", "none-of-this-name")
    assert shell(redirections, *arguments).returncode == 6


def test_a_list_from_a_closed_stdin_is_empty(shell):
    done = shell("<&-", "-m", "vidtag_cli", "locate", "--files-from", "-")
    assert done.returncode == 2
    assert "no video is named" in done.stderr


@pytest.mark.parametrize("redirections", ["2>&-", ">&- 2>&- <&-"])
def test_no_file_gets_the_number_of_a_closed_stream(shell, tmp_path, redirections):
    """A library or child that writes to descriptor 2 would write into it."""
    script = (
        "from vidtag_cli.commands.standard_streams import open_missing_streams as missing\n"
        "missing(); file = open('file', 'w'); file.write(str(file.fileno()))"
    )
    assert shell(redirections, "-c", script).returncode == 0
    assert int((tmp_path / "work" / "file").read_text()) > 2


ODD_NAME = "Straße 東京 \N{GRINNING FACE}.mp4"


@pytest.mark.parametrize(("encoding", "command"), [
    ("ascii", "table"), ("latin-1", "table"), ("ascii:strict", "missing"), ("ascii", "usage"),
])  # fmt: skip
def test_what_an_encoding_cannot_show_is_replaced(shell, tmp_path, model, clip, encoding, command):
    """After the work was done, a table ended in an UnicodeEncodeError."""
    odd = tmp_path / ODD_NAME
    os.link(clip, odd)
    arguments = {
        "table": ("locate", odd, "--model", model),
        "missing": ("locate", f"{odd} gone", "--model", model),
        "usage": ("locate", f"--{ODD_NAME}"),
    }[command]
    done = shell("", "-m", "vidtag_cli", *arguments, encoding=encoding)
    assert done.returncode == {"missing": 3, "usage": 2}.get(command, 0), done.stderr
    assert "\\u6771\\u4eac" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
