"""What a finished training run left behind, read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from training.checkpoint import WEIGHTS_FILE, load_weights
from training.config import TrainingConfig, config_from_json
from training.model.dual_encoder import DualFrameEncoder
from training.model.vidtag import VidTag, build_heads, build_model
from vidtag_cli.bundle.contract import GALLERY_FILE, Calibration
from vidtag_cli.bundle.strict_json import decode, read_json_object
from vidtag_cli.errors import InputError, ModelError

FINAL_FOLDER = "final"
CONFIG_FILE, CALIBRATION_FILE, METRICS_FILE = "config.json", "calibration.json", "metrics.json"
DOMAIN_FILE = "domain.npz"
FRAMES_FILE = "parity_frames.npy"
"""Optional: (M, S, S, 3) uint8 pictures the model was made for, to compare engines on."""


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A trained model and what was measured with it.

    ``domain_arrays`` are those of ``domain.npz``; ``parity_frames_rgb`` is None when the run kept no pictures.
    """

    config: TrainingConfig
    model: VidTag
    gallery_latlon_deg: np.ndarray
    calibration: Calibration
    domain_arrays: dict[str, np.ndarray]
    metrics: dict[str, float]
    parity_frames_rgb: np.ndarray | None


def read_run(folder: Path) -> FinishedRun:
    """Return the run in ``folder`` (or in its sub-folder ``final``).

    Raises InputError that names the file which is missing, is not what it should be, or does not fit the others.
    """
    final = folder / FINAL_FOLDER if (folder / FINAL_FOLDER).is_dir() else folder
    needed = (WEIGHTS_FILE, CONFIG_FILE, GALLERY_FILE, CALIBRATION_FILE, DOMAIN_FILE, METRICS_FILE)
    missing = [name for name in needed if not (final / name).is_file()]
    if missing:
        raise InputError(f"{final}: {', '.join(missing)} missing: the training run is not finished; continue it")
    try:
        config = decode(TrainingConfig, read_json_object(final / CONFIG_FILE))
        calibration = decode(Calibration, read_json_object(final / CALIBRATION_FILE))
        metrics = decode(dict[str, float], read_json_object(final / METRICS_FILE))
    except ModelError as error:
        raise InputError(f"{final}: {error}") from error
    frames = final / FRAMES_FILE
    return FinishedRun(
        config=config,
        model=read_model(config, final / WEIGHTS_FILE),
        gallery_latlon_deg=_read_array(final / GALLERY_FILE),
        calibration=calibration,
        domain_arrays=_read_arrays(final / DOMAIN_FILE),
        metrics=metrics,
        parity_frames_rgb=_read_array(frames) if frames.is_file() else None,
    )


def read_model(config: TrainingConfig, weights: Path) -> VidTag:
    """Return the model of a configuration with stored weights; raises InputError when they do not fit together."""
    model = build_model(config.model)
    try:
        model.load_state_dict(load_weights(weights))
    except RuntimeError as error:
        raise InputError(f"{weights}: not the weights of the configuration beside it: {error}") from error
    return model.eval()


def _read_array(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not an array: {error}") from error


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a set of arrays: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class TrainedHeads:
    """A run's model without backbones, its configuration and gallery, and by data set the keys it did not train on."""

    model: VidTag
    config: TrainingConfig
    gallery_latlon_deg: np.ndarray
    held_out: Mapping[str, frozenset[str]]


def open_heads(run: Path) -> TrainedHeads:
    """Return what a finished run left in its folder ``final``; raises InputError when it is not finished."""
    final = run / "final" if (run / "final").is_dir() else run
    needed = (WEIGHTS_FILE, "config.json", "gallery_latlon.npy", "splits.json")
    missing = [name for name in needed if not (final / name).is_file()]
    if missing:
        raise InputError(f"{final}: {', '.join(missing)} missing: no finished training run; continue it")
    config = config_from_json((final / "config.json").read_text("utf-8"), str(final / "config.json"))
    model = build_heads(config.model, DualFrameEncoder(nn.Identity(), nn.Identity()))
    weights = load_weights(final / WEIGHTS_FILE)
    model.load_state_dict({name: value for name, value in weights.items() if not name.startswith("dual_encoder.")})
    splits = json.loads((final / "splits.json").read_text("utf-8"))
    held_out = {name: frozenset(split["held_out"]) for name, split in splits.items()}
    return TrainedHeads(model.eval(), config, np.load(final / "gallery_latlon.npy", allow_pickle=False), held_out)
