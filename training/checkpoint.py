"""Checkpoints: safetensors for every tensor, JSON for the rest, put in place atomically. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from vidtag_cli.errors import InputError
from vidtag_cli.files import replace_file

REFUSED_BY_NUMPY = (OSError, ValueError, EOFError, zipfile.BadZipFile)
"""What ``np.load`` raises for a file that is empty, cut short or something else."""

_STATE_FILE = "state.safetensors"
_ID_DIGITS = 12


def save_weights(path: Path, weights: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors to a safetensors file that is either whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, save({name: value.detach().contiguous().cpu() for name, value in weights.items()}, metadata))


def load_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file; raises InputError for one that is damaged."""
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path}: not a whole safetensors file ({error}); remove it to have it made anew") from error


def save_state(
    folder: Path, modules: nn.Module, optimizer: torch.optim.Optimizer, step: int, *,
    seed: int | None = None, average: nn.Module | None = None,
) -> None:  # fmt: skip
    """Write everything a killed run needs to go on: weights, buffers, optimiser and the number of steps done.

    The number of steps is the state of the random numbers, of the schedule and of the position in the data too: all of
    them are functions of it and of ``seed``.
    """
    tensors = {f"model.{name}": value for name, value in modules.state_dict().items()}
    for index, entry in optimizer.state_dict()["state"].items():
        for key, value in entry.items():
            tensors[f"optimizer.{index}.{key}"] = value
    if average is not None:
        tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    metadata = {"step": str(step)} | ({} if seed is None else {"seed": str(seed)})
    save_weights(folder / _STATE_FILE, tensors, metadata)


def load_state(
    folder: Path, modules: nn.Module, optimizer: torch.optim.Optimizer, *,
    seed: int | None = None, average: nn.Module | None = None,
) -> int:  # fmt: skip
    """Restore what :func:`save_state` wrote and return the number of steps done; 0 when there is nothing to restore.

    Raises InputError for a state of another model, or of another ``seed``: its random numbers are not those this run
    would go on with.
    """
    path = folder / _STATE_FILE
    if not path.is_file():
        return 0
    tensors, metadata = _read_state(path)
    if seed is not None and metadata.get("seed", str(seed)) != str(seed):
        raise InputError(f"{path}: made with seed {metadata['seed']}, not {seed}; remove the folder to start anew")
    try:
        modules.load_state_dict(_below(tensors, "model."))
        if average is not None:
            average.load_state_dict(_below(tensors, "average."))
        optimizer.load_state_dict({**optimizer.state_dict(), "state": _optimizer_state(tensors)})
    except (RuntimeError, ValueError) as error:
        what = " ".join(str(error).split())
        raise InputError(f"{path}: of another model than this run's: {what}; give another --out") from error
    return int(metadata["step"])


def _read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as stored:
            return {name: stored.get_tensor(name) for name in stored.keys()}, stored.metadata()  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{path}: not a whole checkpoint ({error}); remove it to start this stage anew") from error


def _optimizer_state(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _below(tensors, "optimizer.").items():
        index, key = name.split(".")
        state.setdefault(int(index), {})[key] = value
    return state


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def write_json(path: Path, document: object) -> None:
    """Write a JSON document that is either whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, (json.dumps(document, indent=2) + "\n").encode())


def identify(document: dict[str, Any]) -> str:
    """Return the name of what a document decides about: the first digits of its SHA-256."""
    content = json.dumps(document, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()[:_ID_DIGITS]
