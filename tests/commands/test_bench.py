"""``vidtag bench`` as a shell script sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from command_line import CommandLine, Done
from synthetic_video import write_video
from tiny_bundle import write_tiny_bundle

from vidtag_cli.benchmark.timing import Timing
from vidtag_cli.commands.bench import _cells

Run = Callable[..., Done]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bench")
    write_video(place / "clip.mp4", seconds=2.0)
    write_tiny_bundle(place)
    return place


@pytest.fixture
def bench(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setenv("VIDTAG_HOME", str(folder / "home"))
    monkeypatch.delenv("VIDTAG_MODEL", raising=False)
    monkeypatch.chdir(folder)
    return partial(CommandLine(folder, monkeypatch, capfd), "bench")


def test_a_sweep_is_saved_and_compared(bench: Run, folder: Path) -> None:
    work = ("clip.mp4", "--model", "tiny.vidtag", "--rounds", "1", "--batch", "1,4", "--threads", "1")
    saved = subprocess.run(
        [sys.executable, "-m", "vidtag_cli", "bench", *work, "--json"], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert saved.returncode == 0, saved.stderr
    record = json.loads(saved.stdout)
    assert record["schema"] == "vidtag-bench/3"
    assert [run["batch_frames"] for run in record["runs"]] == [1, 4]
    assert record["runs"][0]["device_memory_bytes"] is None or record["machine"]["gpus"]
    (folder / "saved.json").write_text(saved.stdout)
    again = bench(*work, "--against", "saved.json")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("end to end") == 4  # a table of times and one of verdicts for either batch
    assert again.stdout.count("Mann-Whitney") == 2


def test_the_decoder_alone_needs_no_model(bench: Run) -> None:
    done = bench("clip.mp4", "--decoder", "--rounds", 1, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert set(record["cases"]) == {"exact 1 fps", "exact 5 fps", "exact all", "fast 1 fps", "keyframes 1 fps"}
    assert record["cases"]["exact all"]["frames"] == record["floor"]["frames"] == 8


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--batch", "0"], 2, "at least one frame"),
        (["--batch", "a"], 2, "whole numbers"),
        (["--decoder", "--random-weights", "paper"], 2, "runs no model"),
        (["--decoder", "--batch", "4", "--fps", "2"], 2, "leave --fps, --batch out"),
        (["--engine", ""], 2, "'--engine' is empty"),
        (["--engine", "onnxruntime,"], 2, "unknown engine ''"),
        (["--engine", "onnxruntime,onnxruntime"], 2, "comes twice"),
        (["--random-weights", "paper", "--model", "tiny.vidtag"], 2, "give one of them"),
        (["--random-weights", "paper"], 6, "python -m export onnx random:paper"),
        (["--against", "none.json"], 3, "cannot be read"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(bench: Run, arguments: list[str], code: int, said: str) -> None:
    done = bench("clip.mp4", "--rounds", 1, *(arguments if "--random-weights" in arguments or "--decoder" in arguments
                                             else [*arguments, "--model", "tiny.vidtag"]))  # fmt: skip
    assert done.returncode == code, done.stderr
    assert said in done.stderr


@pytest.mark.parametrize(("rate", "shown"), [(0.234, "0.23"), (9.99, "9.99"), (86.4, "86"), (1234.5, "1234")])
def test_slow_rates_are_shown_with_decimals(rate: float, shown: str) -> None:
    """Half a frame a second is what a full-size model does on two cores: it must not be shown as 0."""
    assert _cells(Timing("encode", 1000, (1000.0 / rate,), (1.0,)))[-1] == shown
