"""Training of a row: Phase I as flyover trains it, GeoRefiner on top where asked for, or a classifier over cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from training.ablations.flyover_run import DrawnFrames, FlightSet, FlyoverRun
from training.ablations.recipe import Recipe, location_recipe
from training.baselines.cells import CellPartition, cells_at_level, with_mean_centres
from training.baselines.classifier import CellClassifier, frame_rows, train_classifier
from training.baselines.heads import build_head
from training.checkpoint import identify, load_weights, save_weights, write_json
from training.features.clips import ClipSource
from training.flyover.locations import fit_locations
from training.model.dual_encoder import DualFrameEncoder
from training.model.location_encoder import LocationEncoder
from training.model.tempgeo import FrameMlp, TempGeo
from training.model.vidtag import VidTag, build_heads, build_location_encoder
from training.phases.phase_one import train_phase_one
from training.phases.phase_two import train_phase_two
from vidtag_cli.errors import UsageError


def train_retrieval(recipe: Recipe, run: FlyoverRun, out: Path) -> VidTag:
    """Return the trained model of a row, without backbones.

    What was trained before under ``out`` is taken from there, also when another row trained it; what was stopped goes
    on.
    """
    model = _train_phase_one(recipe, run, out)
    if recipe.row.refine:
        _train_phase_two(model, recipe, run.sets["train"], out / "phase_two" / identify(recipe.phase_two()))
    return model.eval()


def _train_phase_one(recipe: Recipe, run: FlyoverRun, out: Path) -> VidTag:
    folder = out / "phase_one" / identify(recipe.phase_one())
    write_json(folder / "recipe.json", recipe.phase_one())
    config = recipe.config
    torch.manual_seed(config.seed)
    base = build_heads(config.model, DualFrameEncoder(nn.Identity(), nn.Identity()))
    if recipe.width != config.model.feature_dim and recipe.row.tempgeo:
        base.tempgeo = _narrow_tempgeo(recipe)
    if recipe.has_locations_of_run:
        base.location_encoder.load_state_dict(run.locations)
    else:
        base.location_encoder = _fit_locations(recipe, run, out / "locations" / identify(recipe.locations()))
    with torch.no_grad():  # flyover's own rows start from the scale that the backbones were trained to
        base.log_logit_scale.copy_(run.heads.log_scales.mean())
    torch.manual_seed(config.seed)
    base.frame_mlp = FrameMlp((recipe.width, *config.model.mlp_hidden, config.model.embed_dim))
    if not recipe.row.tempgeo:
        base.tempgeo = None
    finished = folder / "phase_one.safetensors"
    if finished.is_file():
        base.load_state_dict(load_weights(finished))
        return base
    clips, name = _clips(recipe, run.sets["train"]), f"phase_one {recipe.row.name}"
    train_phase_one(base, config.phase_one, clips, folder, config.seed, branch=recipe.branch, name=name)
    save_weights(finished, base.state_dict())
    return base


def _fit_locations(recipe: Recipe, run: FlyoverRun, folder: Path) -> LocationEncoder:
    """Return a location encoder of the row's kind, fitted to the backbones' view of each place as the run's was."""
    torch.manual_seed(recipe.preset.seed)
    encoder = build_location_encoder(recipe.config.model)
    finished = folder / "locations.safetensors"
    if finished.is_file():
        encoder.load_state_dict(load_weights(finished))
        return encoder
    write_json(folder / "recipe.json", recipe.locations())
    store = run.sets["train"].store
    fit_locations(encoder, run.heads, store, location_recipe(recipe.config), folder, recipe.preset.seed)
    save_weights(finished, encoder.state_dict())
    return encoder


def _train_phase_two(model: VidTag, recipe: Recipe, flights: FlightSet, folder: Path) -> None:
    finished = folder / "phase_two.safetensors"
    if finished.is_file():
        model.georefiner.load_state_dict(load_weights(finished))
        return
    write_json(folder / "recipe.json", recipe.phase_two())
    config = recipe.config
    train_phase_two(model, config.phase_two, config.noise, _clips(recipe, flights), folder, config.seed)
    save_weights(finished, model.georefiner.state_dict())


def _clips(recipe: Recipe, flights: FlightSet) -> ClipSource:
    frames = recipe.row.frames
    if frames > flights.frames:
        raise UsageError(f"row {recipe.row.name}: {frames} frames cannot be drawn from flights of {flights.frames}")
    return DrawnFrames(flights.store, frames) if 0 < frames < flights.frames else flights.store


def _narrow_tempgeo(recipe: Recipe) -> TempGeo:
    """Return a TempGeo as wide as one branch."""
    sizes = recipe.config.model
    if recipe.width % sizes.heads:
        raise UsageError(f"row {recipe.row.name}: {recipe.width} columns do not divide among {sizes.heads} heads")
    return TempGeo(
        recipe.width, stem_hidden=sizes.stem_hidden, layers=sizes.tempgeo_layers, heads=sizes.heads,
        dropout=sizes.dropout,
    )  # fmt: skip


def train_cells(recipe: Recipe, flights: FlightSet, out: Path) -> CellClassifier:
    """Return the trained classifier of a row; one that was trained before is taken from ``out``."""
    cells = recipe.row.cells
    if cells is None:
        raise ValueError(f"row {recipe.row.name} is no classifier")
    folder = out / "classifiers" / identify(recipe.classifier())
    latlon_deg = flights.store.latlon_deg.reshape(-1, 2)
    partitions = tuple(_partition(latlon_deg, level, cells.mean_centres) for level in cells.levels)
    torch.manual_seed(recipe.config.seed)
    head = build_head(cells, _token_widths(recipe), [len(partition) for partition in partitions])
    finished = folder / "head.safetensors"
    if finished.is_file():
        head.load_state_dict(load_weights(finished))
        return CellClassifier(head.eval(), partitions)
    write_json(folder / "recipe.json", recipe.classifier())
    classifier = train_classifier(
        head, partitions, frame_rows(flights.store.features, recipe.branch), latlon_deg, folder=folder,
        steps=cells.steps, batch_frames=cells.batch_frames, learning_rate=cells.learning_rate, seed=recipe.config.seed,
    )  # fmt: skip
    save_weights(finished, head.state_dict())
    return classifier


def _partition(latlon_deg: np.ndarray, level: int, mean_centres: bool) -> CellPartition:
    partition = cells_at_level(latlon_deg, level)
    return with_mean_centres(partition, latlon_deg) if mean_centres else partition


def _token_widths(recipe: Recipe) -> list[int]:
    clip = recipe.config.model.clip.embed_dim
    return [clip, recipe.width - clip] if recipe.row.branch == "both" else [recipe.width]
