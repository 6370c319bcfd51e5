"""Training of a retrieval row: Phase I as flyover trains it, and GeoRefiner on top where the row has one."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from training.ablations.flights import DrawnFrames, FlightSet
from training.ablations.recipe import Recipe, identify, location_recipe
from training.ablations.run_folder import FlyoverRun
from training.checkpoint import load_weights, save_weights, write_json
from training.clips import ClipSource
from training.model.dual_encoder import DualFrameEncoder
from training.model.frame_mlp import FrameMlp
from training.model.location_encoder import LocationEncoder
from training.model.tempgeo import TempGeo
from training.model.vidtag import VidTag, build_heads, build_location_encoder
from training.phases.locations import fit_locations
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
