"""Checkpoints: safetensors for every tensor, JSON for the rest, put in place atomically. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from vidtag_cli.files import replace_file

_STATE_FILE = "state.safetensors"
_ID_DIGITS = 12


def save_weights(path: Path, weights: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors to a safetensors file that is either whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, save({name: value.detach().contiguous().cpu() for name, value in weights.items()}, metadata))


def load_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file."""
    return load_file(path)


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

    Raises ValueError for a state of another ``seed``: its random numbers are not those this run would go on with.
    """
    path = folder / _STATE_FILE
    if not path.is_file():
        return 0
    with safe_open(path, framework="pt") as stored:
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a dict)
        metadata = stored.metadata()
    if seed is not None and metadata.get("seed", str(seed)) != str(seed):
        raise ValueError(f"{path}: made with seed {metadata['seed']}, not {seed}; remove the folder to start anew")
    modules.load_state_dict(_below(tensors, "model."))
    if average is not None:
        average.load_state_dict(_below(tensors, "average."))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _below(tensors, "optimizer.").items():
        index, key = name.split(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return int(metadata["step"])


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
