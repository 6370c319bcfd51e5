"""The program runs on a machine without PyTorch and without anything else that only makes models."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidtag_cli.bundle.folders import PACKAGED_MODELS_DIR

ROOT = Path(__file__).resolve().parents[1]

BLOCKED = (
    "torch",
    "torchvision",
    "open_clip",
    "transformers",
    "safetensors",
    "onnx",
    "onnxscript",
    "training",
    "export",
)

SCRIPT = f"""
import sys
for name in {BLOCKED!r}:
    sys.modules[name] = None  # an import of it raises ImportError
from vidtag_cli.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def run_blocked(*arguments, **options):
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)


def test_the_block_works():
    blocked = SCRIPT.replace("from vidtag_cli.__main__ import main", "import torch")
    done = subprocess.run([sys.executable, "-c", blocked], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "ImportError" in done.stderr or "ModuleNotFoundError" in done.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("models", "list", "--json"), ("locate", "--help")])
def test_commands_answer(arguments):
    done = run_blocked(*arguments)
    assert done.returncode == 0, done.stderr


def test_a_clip_is_located(tmp_path, flyover_cache):
    clips = sorted((PACKAGED_MODELS_DIR / "demo").glob("*.mp4"))
    if not (PACKAGED_MODELS_DIR / "flyover.vidtag").is_dir() or not clips:
        pytest.skip(f"no packaged model with a demonstration clip in {PACKAGED_MODELS_DIR}")
    track = tmp_path / "track.gpx"
    environment = os.environ | {"XDG_CACHE_HOME": str(flyover_cache)}
    done = run_blocked("locate", clips[0], "--model", "flyover", "--out", track, env=environment)
    assert done.returncode == 0, done.stderr
    assert "<trkpt" in track.read_text("utf-8")
