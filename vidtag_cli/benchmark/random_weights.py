"""The model of ``--random-weights``: true architecture, invented weights, enough to size hardware with."""

from __future__ import annotations

from pathlib import Path

from vidtag_cli.bundle.contract import BUNDLE_SUFFIX
from vidtag_cli.bundle.installed_models import find_model
from vidtag_cli.bundle.load import ModelBundle
from vidtag_cli.errors import ModelError

RANDOM_WORD = "random"


def find_random_model(preset: str) -> Path:
    """Return the bundle ``random-PRESET.vidtag`` of this folder, or of the installed models.

    Graphs can only be exported with PyTorch, which this program does not have, so a missing bundle is a ModelError
    that names the command that makes it.
    """
    name = f"{RANDOM_WORD}-{preset}"
    here = Path(f"{name}{BUNDLE_SUFFIX}")
    if here.is_dir():
        return here
    try:
        return find_model(name)
    except ModelError as error:
        raise ModelError(
            f"there is no {here} in this folder and no model {name!r} is installed: make it once, where there is a "
            f"checkout and PyTorch, with 'python -m export onnx {RANDOM_WORD}:{preset} --out {here}', and copy it here"
        ) from error


def check_random(bundle: ModelBundle) -> None:
    """Raise ModelError for a bundle that was trained: its speed should be quoted under its own name."""
    if not bundle.contract.has_random_weights:
        raise ModelError(f"{bundle.path}: has no random weights: use --model {bundle.path}")
