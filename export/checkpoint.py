"""What an export starts from: a finished training run, or true-size networks with random weights."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from export.bundle import AboutModel, read_about
from training.config import TrainingConfig
from training.config_files import load_config
from training.model.vidtag import VidTag, build_model
from training.run.folder import FinishedRun, read_run
from vidtag_cli.bundle.contract import RANDOM_WEIGHTS, Calibration
from vidtag_cli.errors import InputError
from vidtag_cli.geo.grid import equal_area_grid
from vidtag_cli.geo.sphere import destination_latlon

RANDOM_PREFIX = "random:"
RANDOM_MODELS: Mapping[str, int | None] = {"paper": None, "paper4": 4}
"""Name to how many layers each backbone keeps; None keeps them all. Every width is the paper's."""

_RANDOM = re.compile(rf"{RANDOM_PREFIX}({'|'.join(RANDOM_MODELS)})(?::(\d+))?")

_GALLERY_CENTRE_LATLON_DEG = np.array([48.8584, 2.2945])
_GALLERY_SPACING_KM, _GALLERY_ROWS = 0.1, 45
"""2,000 places 100 m apart: what the shift of places is measured on."""


def read_checkpoint(source: str) -> tuple[FinishedRun, AboutModel]:
    """Return a model and its statements: of a training run's folder, or of ``random:NAME[:SEED]``.

    Random names are ``paper``, the paper's model at full size, and ``paper4``, the same with 4 layers in each backbone.
    Raises InputError when there is no such run or name.
    """
    if not source.startswith(RANDOM_PREFIX):
        run = read_run(Path(source))
        return run, read_about(run.config.name)
    match = _RANDOM.fullmatch(source)
    if match is None:
        names = ", ".join(f"{RANDOM_PREFIX}{name}" for name in RANDOM_MODELS)
        raise InputError(f"{source}: random weights are {names}, each with :SEED if wanted")
    return random_run(match[1], int(match[2] or 0)), _random_about(match[1])


def random_config(name: str) -> TrainingConfig:
    """Return the configuration of a random model: the preset ``paper``, its backbones cut where the name says so."""
    config = load_config("paper")
    layers = RANDOM_MODELS[name]
    if layers is None:
        return config
    clip = dataclasses.replace(config.model.clip, layers=layers)
    dino = dataclasses.replace(config.model.dino, layers=layers)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, clip=clip, dino=dino))


def random_run(name: str, seed: int) -> FinishedRun:
    """Return a run that was never trained: seeded weights, 2,000 places on a 100 m grid, nothing calibrated."""
    config = dataclasses.replace(random_config(name), seed=seed)
    width = config.model.feature_dim
    return FinishedRun(
        config=config,
        model=_random_model(config),
        gallery_latlon_deg=_small_gallery(),
        calibration=Calibration(
            parameters={"posterior_scale": 1.0 / 0.07, "place_radius_km": 1.0},
            tables={},
            statement="Random weights: no place that this model names means anything, and nothing was measured.",
            measured={},
        ),
        domain_arrays={"mean": np.zeros(width, np.float32), "whitening": np.eye(width, dtype=np.float32)},
        metrics={},
        parity_frames_rgb=None,
    )


def _random_model(config: TrainingConfig) -> VidTag:
    """Return a model whose batch norms have statistics of their own, as training leaves them."""
    torch.manual_seed(config.seed)
    model = build_model(config.model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d) and module.running_mean is not None and module.running_var is not None:
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
        if isinstance(module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
            _draw_anew(module)
    return model.eval()


def _draw_anew(layer: nn.Module) -> None:
    """Give a layer weights of its own: torch copies one layer, and engines keep equal weights only once."""
    for parameter in layer.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)


def _small_gallery() -> np.ndarray:
    half_km = _GALLERY_SPACING_KM * _GALLERY_ROWS / 2.0
    north, east, south, west = (
        destination_latlon(_GALLERY_CENTRE_LATLON_DEG, bearing, half_km) for bearing in (0.0, 90.0, 180.0, 270.0)
    )
    grid = equal_area_grid(_GALLERY_SPACING_KM, south[0], west[1], north[0], east[1])
    return grid[:2000]


def _random_about(name: str) -> AboutModel:
    return dataclasses.replace(
        read_about("paper"),
        domain=f"None: the weights of {name} are random. It locates nothing and serves to test and to size hardware.",
        data=(f"{RANDOM_WEIGHTS} of {name}",),
        licences=("weights: random numbers",),
        split="none",
    )
