"""The folder of a run: every file of it is named, written and read here and nowhere else.

``run.json`` says what the run is made from. Each stage leaves its weights as ``STAGE.safetensors`` beside the folder
``STAGE`` of its checkpoint and curves, and is not done again. ``final`` is what evaluation and export need.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from torch import Tensor, nn

from training.checkpoint import REFUSED_BY_NUMPY, load_weights, save_weights, write_json
from training.config import TrainingConfig
from training.config_files import config_from_json, config_json, preset_names
from training.model.dual_encoder import DualFrameEncoder
from training.model.vidtag import VidTag, build_heads, build_model
from vidtag_cli.bundle.contract import BUNDLE_SUFFIX, GALLERY_FILE, Calibration, is_model_name
from vidtag_cli.errors import InputError
from vidtag_cli.files import replace_file
from vidtag_cli.pipeline.domain import DomainModel
from vidtag_cli.strict_values import StrictValueError, decode, read_json_object

FINAL_FOLDER, FEATURES_FOLDER, CALIBRATION_GALLERY = "final", "features", "calibration_gallery"
RECORD_FILE = "run.json"
WEIGHTS_FILE, CONFIG_FILE, DOMAIN_FILE = "weights.safetensors", "config.json", "domain.npz"
CALIBRATION_FILE, METRICS_FILE, SPLITS_FILE = "calibration.json", "metrics.json", "splits.json"
FRAMES_FILE = "parity_frames.npy"
"""Optional: (M, S, S, 3) uint8 pictures the model was made for, to compare engines on."""

RESULTS_FILE = "results.md"
"""Optional: what the model reaches, in tables."""

_BACKBONES = "dual_encoder."
"""How the names of the backbones' weights begin; they are not trained, and a run on data sets knows them by hash."""

Splits = Mapping[str, Mapping[str, list[str]]]
"""Data set -> ``train`` and ``held_out`` -> keys of sequences."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run keeps what it is made from, what its stages leave, and its result."""

    path: Path

    @property
    def final(self) -> Path:
        return self.path / FINAL_FOLDER

    @property
    def calibration_gallery(self) -> Path:
        return self.path / CALIBRATION_GALLERY

    def features(self, name: str) -> Path:
        """Return the folder of the features of one set of flights; data sets are cached outside the run."""
        return self.path / FEATURES_FOLDER / name

    def stage(self, name: str) -> Path:
        """Return the folder in which a stage keeps its checkpoint and curves while it runs."""
        return self.path / name

    def weights(self, stage: str) -> Path:
        """Return the file that a stage leaves."""
        return self.path / f"{stage}.safetensors"

    def is_done(self, stage: str) -> bool:
        """Return whether a stage has left its weights."""
        return self.weights(stage).is_file()

    def write_record(self, record: Mapping[str, object]) -> None:
        """Write what the run is made from; raises InputError when the folder holds a run of something else."""
        path = self.path / RECORD_FILE
        if path.is_file():
            stored = json.loads(path.read_text("utf-8"))
            asked = json.loads(json.dumps(record))
            differing = [key for key in asked if key != "torch" and stored.get(key) != asked[key]]
            if differing:
                raise InputError(f"{path}: this run was begun with another {', '.join(differing)}; give another --out")
            return
        write_json(path, record)

    def load_stage(self, stage: str, module: nn.Module) -> None:
        """Load the weights that a stage left; raises InputError when they are not of this module."""
        path = self.weights(stage)
        try:
            module.load_state_dict(load_weights(path))
        except RuntimeError as error:
            what = " ".join(str(error).split())
            raise InputError(f"{path}: of another preset than this run's: {what}; give another --out") from error

    def save_heads(self, stage: str, model: VidTag) -> None:
        """Write all weights of a model but those of its backbones."""
        save_weights(self.weights(stage), _without_backbones(model.state_dict()))

    def load_heads(self, stage: str, model: VidTag) -> None:
        """Load what :meth:`save_heads` wrote; raises InputError when it is not of this model."""
        path = self.weights(stage)
        loaded = model.load_state_dict(load_weights(path), strict=False)
        missing = [name for name in loaded.missing_keys if not name.startswith(_BACKBONES)]
        if missing or loaded.unexpected_keys:
            raise InputError(f"{path}: not of this preset: missing {missing}, unexpected {loaded.unexpected_keys}")


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


@dataclass(frozen=True, slots=True, eq=False)
class TrainedHeads:
    """A run's model without backbones, its configuration and gallery, and by data set the keys it did not train on."""

    model: VidTag
    config: TrainingConfig
    gallery_latlon_deg: np.ndarray
    held_out: Mapping[str, frozenset[str]]


def domain_arrays(domain: DomainModel) -> dict[str, np.ndarray]:
    """Return a domain model as the arrays of ``domain.npz``."""
    return {"mean": domain.mean, "whitening": domain.whitening}


def export_command(run: RunFolder, config: TrainingConfig) -> str:
    """Return the command that makes a bundle of a finished run; a preset of one's own needs statements of its own."""
    name = config.name if is_model_name(config.name) else "model"
    about = "" if config.name in preset_names() else " --about STATEMENTS.toml"
    return f"python -m export bundle {shlex.quote(str(run.path))} --out {name}{BUNDLE_SUFFIX}{about}"


def write_run(run: RunFolder, finished: FinishedRun, splits: Splits | None = None, results: str | None = None) -> None:
    """Write the folder ``final``, the metrics last: without them :func:`read_run` says that the run is not finished."""

    def write_domain(stream: BinaryIO) -> None:
        np.savez(stream, **finished.domain_arrays)  # type: ignore[arg-type]  # the stub reads one as allow_pickle

    final = run.final
    save_weights(final / WEIGHTS_FILE, finished.model.state_dict())
    replace_file(final / CONFIG_FILE, (config_json(finished.config) + "\n").encode())
    replace_file(final / GALLERY_FILE, lambda stream: np.save(stream, finished.gallery_latlon_deg))
    replace_file(final / DOMAIN_FILE, write_domain)
    if splits is not None:
        write_json(final / SPLITS_FILE, splits)
    frames_rgb = finished.parity_frames_rgb
    if frames_rgb is not None:
        replace_file(final / FRAMES_FILE, lambda stream: np.save(stream, frames_rgb))
    write_json(final / CALIBRATION_FILE, dataclasses.asdict(finished.calibration))
    if results is not None:
        replace_file(final / RESULTS_FILE, results.encode())
    write_json(final / METRICS_FILE, finished.metrics)


def read_run(folder: Path) -> FinishedRun:
    """Return the run in ``folder`` (or in its sub-folder ``final``).

    Raises InputError that names the file which is missing, is not what it should be, or does not fit the others.
    """
    names = (WEIGHTS_FILE, CONFIG_FILE, GALLERY_FILE, CALIBRATION_FILE, DOMAIN_FILE, METRICS_FILE)
    final = _finished_folder(folder, names)
    try:
        config = decode(TrainingConfig, read_json_object(final / CONFIG_FILE))
        calibration = decode(Calibration, read_json_object(final / CALIBRATION_FILE))
        metrics = decode(dict[str, float], read_json_object(final / METRICS_FILE))
    except StrictValueError as error:
        raise InputError(f"{final}: {error}") from error
    frames = final / FRAMES_FILE
    return FinishedRun(
        config=config,
        model=_load_model(build_model(config.model), load_weights(final / WEIGHTS_FILE), final / WEIGHTS_FILE),
        gallery_latlon_deg=_read_array(final / GALLERY_FILE),
        calibration=calibration,
        domain_arrays=_read_arrays(final / DOMAIN_FILE),
        metrics=metrics,
        parity_frames_rgb=_read_array(frames) if frames.is_file() else None,
    )


def open_heads(folder: Path) -> TrainedHeads:
    """Return what ``train`` left of its heads; raises InputError when the run is not finished."""
    final = _finished_folder(folder, (WEIGHTS_FILE, CONFIG_FILE, GALLERY_FILE, SPLITS_FILE))
    config = read_config(folder)
    model = build_heads(config.model, DualFrameEncoder(nn.Identity(), nn.Identity()))
    _load_model(model, _without_backbones(load_weights(final / WEIGHTS_FILE)), final / WEIGHTS_FILE)
    return TrainedHeads(model, config, _read_array(final / GALLERY_FILE), _read_held_out(final / SPLITS_FILE))


def _read_held_out(path: Path) -> dict[str, frozenset[str]]:
    """Return the keys that a run did not train on, by data set."""
    try:
        splits = decode(dict[str, dict[str, list[str]]], read_json_object(path))
        return {name: frozenset(split["held_out"]) for name, split in splits.items()}
    except (StrictValueError, KeyError) as error:
        raise InputError(f"{path}: not the splits of a run: {error}") from error


def has_config(folder: Path) -> bool:
    """Return whether a run has come as far as its result, whose configuration :func:`read_config` returns."""
    return (RunFolder(folder).final / CONFIG_FILE).is_file()


def read_config(folder: Path) -> TrainingConfig:
    """Return the configuration of a finished run."""
    path = _finished_folder(folder, (CONFIG_FILE,)) / CONFIG_FILE
    return config_from_json(path.read_text("utf-8"), str(path))


def _finished_folder(folder: Path, names: tuple[str, ...]) -> Path:
    """Return the folder that holds these files: ``folder`` or its ``final``."""
    final = folder / FINAL_FOLDER if (folder / FINAL_FOLDER).is_dir() else folder
    missing = [name for name in names if not (final / name).is_file()]
    if missing:
        raise InputError(f"{final}: {', '.join(missing)} missing: the training run is not finished; continue it")
    return final


def _load_model(model: VidTag, weights: Mapping[str, Tensor], path: Path) -> VidTag:
    """Return the model with stored weights; raises InputError when they do not fit it."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        what = " ".join(str(error).split())
        raise InputError(f"{path}: not the weights of the configuration beside it: {what}") from error
    return model.eval()


def _without_backbones(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in weights.items() if not name.startswith(_BACKBONES)}


def _read_array(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except REFUSED_BY_NUMPY as error:
        raise InputError(f"{path}: not an array: {error}") from error


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except REFUSED_BY_NUMPY as error:
        raise InputError(f"{path}: not a set of arrays: {error}") from error
