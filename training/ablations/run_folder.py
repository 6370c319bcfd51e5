"""What a study reads of the folder of a flyover run: features, and the weights that every row starts from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from training.ablations.flights import FlightSet, open_flight_set
from training.checkpoint import load_weights
from training.config import TrainingConfig, config_from_json, load_config
from training.phases.backbones import BranchHeads, build_branch_heads
from vidtag_cli.errors import InputError

HEADS_FILE, LOCATIONS_FILE = "heads.safetensors", "locations.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class FlyoverRun:
    """A run: its ``preset``, flights by the name of their set, the weights of its location encoder before Phase I, and
    the ``heads`` that this encoder was fitted to; ``hashes`` of features, locations and heads.
    """

    preset: TrainingConfig
    sets: Mapping[str, FlightSet]
    locations: dict[str, Tensor]
    heads: BranchHeads
    hashes: dict[str, str]


def open_run(folder: Path, sets: Sequence[str], preset: str | None = None) -> FlyoverRun:
    """Return a run with its training flights and the sets named; ``preset`` is by default that of its final folder.

    Raises InputError when the folder is no flyover run, is not that far, or was made with another preset.
    """
    config = _config_of(folder, preset)
    flights = {name: open_flight_set(folder, name) for name in dict.fromkeys(("train", *sets))}
    columns = {each.store.features.shape[-1] for each in flights.values()}
    if columns != {config.model.feature_dim}:
        raise InputError(
            f"{folder}: its features have {', '.join(map(str, sorted(columns)))} columns, preset {config.name} has "
            f"{config.model.feature_dim}; give --preset of the run"
        )
    heads, locations = build_branch_heads(config), _load(folder / LOCATIONS_FILE)
    heads.load_state_dict(_load(folder / HEADS_FILE))
    train = flights["train"].identity
    hashes = {
        "features": f"{train.weights} {train.listing}",
        "locations": _digest(locations),
        "heads": _digest(heads.state_dict()),
    }
    return FlyoverRun(config, flights, locations, heads, hashes)


def _config_of(folder: Path, preset: str | None) -> TrainingConfig:
    stored = folder / "final" / "config.json"
    if preset is None and stored.is_file():
        return config_from_json(stored.read_text("utf-8"), str(stored))
    return load_config(preset or "flyover")


def _load(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(
            f"{path}: missing: not a flyover run, or it is not that far yet; make it with "
            f"'python -m training flyover --out {path.parent}'"
        )
    return load_weights(path)


def _digest(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode() + value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()
