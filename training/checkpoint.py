"""Checkpoints: safetensors for every tensor, JSON for the rest, put in place atomically. Nothing is ever unpickled."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

WEIGHTS_FILE = "weights.safetensors"
_STATE_FILE = "state.safetensors"


def save_weights(path: Path, weights: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors to a safetensors file that is either whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    save_file({name: value.detach().contiguous().cpu() for name, value in weights.items()}, temporary, metadata)
    os.replace(temporary, path)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file."""
    return load_file(path)


def save_state(folder: Path, modules: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write everything a killed run needs to go on: weights, buffers, optimiser and the number of steps done."""
    tensors = {f"model.{name}": value for name, value in modules.state_dict().items()}
    for index, entry in optimizer.state_dict()["state"].items():
        for key, value in entry.items():
            tensors[f"optimizer.{index}.{key}"] = value
    save_weights(folder / _STATE_FILE, tensors, {"step": str(step)})


def load_state(folder: Path, modules: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Restore what :func:`save_state` wrote and return the number of steps done; 0 when there is nothing to restore."""
    from safetensors import safe_open

    path = folder / _STATE_FILE
    if not path.is_file():
        return 0
    with safe_open(path, framework="pt") as stored:
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a dict)
        step = int(stored.metadata()["step"])
    modules.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("model.")})
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return step


def write_json(path: Path, document: object) -> None:
    """Write a JSON document that is either whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    os.replace(temporary, path)
