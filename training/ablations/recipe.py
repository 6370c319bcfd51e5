"""All that decides about a row's weights, and the names of folders made from it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from training.ablations.plan import AblationRow
from training.config import LocationTrainingConfig, PhaseConfig, TrainingConfig
from training.config_files import config_from_json, config_json, merge_tables
from vidtag_cli.errors import InputError, UsageError

_OF_THE_FEATURES = ("frame_size_px", "clip", "dino", "siglip", "upright")
"""What the cached features are made with: a row cannot change it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A row with its configuration resolved, and the ``preset`` of the run.

    ``inputs`` are hashes of the run's features, of its location encoder before Phase I and of what that was fitted to.
    """

    row: AblationRow
    config: TrainingConfig
    preset: TrainingConfig
    inputs: dict[str, str]

    @property
    def branch(self) -> slice:
        """The columns of the features that the row sees."""
        clip = self.config.model.clip.embed_dim
        return {"both": slice(None), "clip": slice(0, clip), "dino": slice(clip, None)}[self.row.branch]

    @property
    def width(self) -> int:
        """The number of those columns."""
        return len(range(*self.branch.indices(self.config.model.feature_dim)))

    @property
    def has_locations_of_run(self) -> bool:
        """Whether the row's location encoder is built like the run's and so starts from it."""
        return self.config.model.location == self.preset.model.location

    def locations(self) -> dict[str, Any]:
        """Return what decides about a location encoder before Phase I; all seeds start from the same."""
        if self.has_locations_of_run:
            return {"locations": self.inputs["locations"]}
        return {
            "features": self.inputs["features"], "heads": self.inputs["heads"], "seed": self.preset.seed,
            "location": dataclasses.asdict(self.config.model.location), "embed_dim": self.config.model.embed_dim,
            "locations": dataclasses.asdict(location_recipe(self.config)),
        }  # fmt: skip

    def phase_one(self) -> dict[str, Any]:
        """Return what decides about Phase I."""
        row, config = self.row, self.config
        return {
            "features": self.inputs["features"], "branch": row.branch, "tempgeo": row.tempgeo, "frames": row.frames,
            "model": dataclasses.asdict(config.model), "phase_one": dataclasses.asdict(config.phase_one),
            "seed": config.seed, "locations": self.locations(), "heads": self.inputs["heads"],
        }  # fmt: skip

    def phase_two(self) -> dict[str, Any]:
        """Return what decides about GeoRefiner."""
        config = self.config
        return {
            "phase_one": self.phase_one(), "phase_two": dataclasses.asdict(config.phase_two),
            "noise": dataclasses.asdict(config.noise),
        }  # fmt: skip

    def classifier(self) -> dict[str, Any]:
        """Return what decides about a classifier over cells."""
        if self.row.cells is None:
            raise ValueError(f"row {self.row.name} is no classifier")
        return {
            "features": self.inputs["features"], "branch": self.row.branch, "cells": dataclasses.asdict(self.row.cells),
            "seed": self.config.seed,
        }  # fmt: skip

    def answers(self) -> dict[str, Any]:
        """Return what decides about the trained row's answers, but for gallery and flights."""
        if self.row.cells is not None:
            return {"classifier": self.classifier()}
        trained = self.phase_two() if self.row.refine else self.phase_one()
        return {"trained": trained, "both_longitudes": self.row.both_longitudes}


def resolve(
    row: AblationRow, preset: TrainingConfig, seed_number: int, steps_factor: float, inputs: dict[str, str]
) -> Recipe:
    """Return the recipe of a row for one of the seeds, its phases shortened or lengthened by ``steps_factor``.

    Raises UsageError when the row changes what the run's features were made with.
    """
    changed = row.change or {}
    own = changed.get("model", {})
    if isinstance(own, dict) and (taboo := [name for name in _OF_THE_FEATURES if name in own]):
        raise UsageError(f"row {row.name}: model.{taboo[0]} is that of the run's features; a row cannot change it")
    try:
        text = json.dumps(merge_tables(json.loads(config_json(preset)), changed))
        config = config_from_json(text, f"row {row.name}")
    except InputError as error:
        raise UsageError(str(error)) from error
    config = dataclasses.replace(
        config,
        seed=preset.seed + seed_number,
        phase_one=_scale(config.phase_one, steps_factor),
        phase_two=_scale(config.phase_two, steps_factor),
    )
    if config.locations is not None:
        steps = _count(config.locations.steps, steps_factor)
        config = dataclasses.replace(config, locations=dataclasses.replace(config.locations, steps=steps))
    if row.cells is not None:
        cells = dataclasses.replace(row.cells, steps=_count(row.cells.steps, steps_factor))
        row = dataclasses.replace(row, cells=cells)
    return Recipe(row, config, preset, inputs)


def location_recipe(config: TrainingConfig) -> LocationTrainingConfig:
    """Return how a location encoder is fitted before Phase I; raises UsageError for a preset that does not say."""
    if config.locations is None:
        raise UsageError(f"preset {config.name} has no [locations]: it does not say how location encoders start")
    return config.locations


def _scale(phase: PhaseConfig, factor: float) -> PhaseConfig:
    if factor == 1.0:
        return phase
    if phase.epochs:
        raise UsageError("--steps-factor shortens phases given in steps; this preset gives epochs")
    return dataclasses.replace(
        phase,
        steps=_count(phase.steps, factor),
        steps_per_epoch=_count(phase.steps_per_epoch, factor),
        warmup_steps=_count(phase.warmup_steps, factor),
    )


def _count(steps: int, factor: float) -> int:
    return max(1, round(steps * factor))
