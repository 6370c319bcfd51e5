"""The demo model from nothing: every stage in order, each resumed where a killed run stopped."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.calibration.calibrate import calibrate_on_clips, open_torch_gallery
from training.checkpoint import save_weights
from training.config import FlightConfig, TrainingConfig
from training.flyover.backbones import BranchHeads, balance_branches_, build_branch_heads, pretrain_backbones
from training.flyover.camera import render_clips
from training.flyover.evaluate import REGIONS
from training.flyover.features import FeatureStore, cache_flights
from training.flyover.flights import SPACING_KM, draw_flights, flyover_gallery
from training.flyover.imagery import load_textures
from training.flyover.locations import fit_locations
from training.flyover.results import measure_steps, results_markdown, results_metrics
from training.model.rounding import round_weights_
from training.model.vidtag import VidTag, build_model
from training.phases.phase_one import train_phase_one
from training.phases.phase_two import train_phase_two
from training.run.folder import FinishedRun, RunFolder, domain_arrays, export_command, write_run
from vidtag_cli.calibration.fit import CalibrationPlan
from vidtag_cli.calibration.paths import PathStep
from vidtag_cli.errors import UsageError
from vidtag_cli.pipeline.domain import fit_domain_model

FRAMES_PER_SECOND = 1.0
"""The demo clip shows one frame of a flight in a second, and the bundle asks for that density."""

MAX_DISAGREEMENT_KM = 500.0
"""A window of a true flight spans at most 750 km; when a frame's place lies farther than this from most others of its
window, some of them are wrong. Chosen on calibration flights: beyond it the 95 % error jumps from 650 to 5,600 km."""

MAX_RADIUS95_KM = 500.0
"""An answer that may be off by more says nothing that an analyst could use: it is wider than a large country. Frames
whose circle is wider would be a fifth of those located, with circles of 970 km."""

PLACE_RADIUS_KM = 100.0

DOMAIN_SHRINKAGE = 1e-5
"""Street clips differ from flights in directions in which flights hardly vary; more shrinkage hides these. The graphs
of this model are float32: features of a half-precision engine would need more."""

_log = logging.getLogger("training")

_STREAMS = {
    "train": 10,
    "calibration": 11,
    "test": 12,
    "fiji": 13,
    "chukotka": 14,
    "above_70n": 15,
    "parity": 16,
    "balance": 17,
}
"""Random streams of the sets of flights; none shares a number with another, so test flights are never trained on."""

_REGION_CLIPS = 100


def flyover_step(flights: FlightConfig, spacing_km: float) -> PathStep:
    """Return the camera of the preset's flights; the doubt about a step is the spacing of the gallery."""
    return PathStep(flights.step_km[1] * FRAMES_PER_SECOND * 3600.0, spacing_km, 1.0 / FRAMES_PER_SECOND)


def flyover_plan(flights: FlightConfig, spacing_km: float) -> CalibrationPlan:
    """Return the plan for flights as in the preset and a gallery of this spacing."""
    step = flyover_step(flights, spacing_km)
    return CalibrationPlan(PLACE_RADIUS_KM, MAX_RADIUS95_KM, MAX_DISAGREEMENT_KM, step, "flights")


def train_flyover(config: TrainingConfig, folder: Path, device: torch.device) -> None:
    """Train the demo model into ``folder``; ``folder/final`` then holds all that the export of a bundle needs."""
    run = RunFolder(folder)
    textures = load_textures(device, config.flight_recipe().texture_width_px)
    model, heads = train_backbones(config, run, textures)
    stores = cache_all(model, config, run, textures)
    start_locations(model, heads, config, run, stores["train"])
    train_phases(model, config, run, stores["train"])
    write_final(model, config, run, stores, textures)
    _log.info("%s: trained and measured; make a bundle of it with: %s", run.final, export_command(run, config))
    _log.info("and the tables of ablations with: python -m training ablations --run %s", shlex.quote(str(folder)))


def write_final(
    model: VidTag, config: TrainingConfig, run: RunFolder, stores: dict[str, FeatureStore], textures: Tensor
) -> None:
    """Write weights, configuration, gallery, domain, calibration, metrics, their tables (``results.md``) and some
    pictures to compare engines on.
    """
    flights = config.flight_recipe()
    places = flyover_gallery(flights)
    features = stores["train"].features[::12].reshape(-1, config.model.feature_dim).astype(np.float32)
    domain = fit_domain_model(features, shrinkage=DOMAIN_SHRINKAGE)
    gallery = open_torch_gallery(model, places, run.calibration_gallery, SPACING_KM**2)
    plan, step = flyover_plan(flights, SPACING_KM), flyover_step(flights, SPACING_KM)
    calibration = calibrate_on_clips(model, stores["calibration"], stores["test"], domain, gallery, plan)
    calibration.parameters["default_cell_area_km2"] = SPACING_KM**2
    scale = calibration.parameters["path_posterior_scale"]
    results = measure_steps(model, stores, gallery, scale, step, PLACE_RADIUS_KM)
    finished = FinishedRun(
        config=config,
        model=model,
        gallery_latlon_deg=places,
        calibration=calibration,
        domain_arrays=domain_arrays(domain),
        metrics=results_metrics(results),
        parity_frames_rgb=_pictures(config, textures),
    )
    write_run(run, finished, results=results_markdown(results))


def _pictures(config: TrainingConfig, textures: Tensor) -> np.ndarray:
    """Return the frames (T, S, S, 3) uint8 of one flight that nothing was trained on."""
    rng = np.random.default_rng((config.seed, _STREAMS["parity"]))
    flights = draw_flights(config.flight_recipe(), 1, rng)
    frames = render_clips(textures, flights, config.model.frame_size_px, np.random.default_rng(config.seed))[0]
    return frames.cpu().numpy()


def train_backbones(config: TrainingConfig, run: RunFolder, textures: Tensor) -> tuple[VidTag, BranchHeads]:
    """Return the model with trained backbones, and the heads they were trained with; the other parts are random."""
    torch.manual_seed(config.seed)
    model, heads = build_model(config.model), build_branch_heads(config)
    if run.is_done("backbones"):
        run.load_stage("backbones", model)
        run.load_stage("heads", heads)
    else:
        pretrain_backbones(model, heads, config, textures, run.stage("backbones"))
        rng = np.random.default_rng((config.seed, _STREAMS["balance"]))
        flights = draw_flights(config.flight_recipe(), 32, rng)
        frames = render_clips(textures, flights, config.model.frame_size_px, rng)
        balance_branches_(model.dual_encoder, frames.flatten(0, 1))
        # The bundle stores weights in half precision: rounding here means that features, Phase I and the export agree.
        round_weights_(model.dual_encoder)
        save_weights(run.weights("heads"), heads.state_dict())
        save_weights(run.weights("backbones"), model.state_dict())
    return model, heads


def start_locations(
    model: VidTag, heads: BranchHeads, config: TrainingConfig, run: RunFolder, store: FeatureStore
) -> None:
    """Fit the location encoder of ``model`` to the backbones' features, in place: where every row starts from."""
    if config.locations is None:
        raise UsageError(f"preset {config.name} has no [locations]: give a flyover preset")
    if run.is_done("locations"):
        run.load_stage("locations", model.location_encoder)
        return
    fit_locations(model.location_encoder, heads, store, config.locations, run.stage("locations"), config.seed)
    save_weights(run.weights("locations"), model.location_encoder.state_dict())


def cache_all(model: VidTag, config: TrainingConfig, run: RunFolder, textures: Tensor) -> dict[str, FeatureStore]:
    """Return the feature stores of the training, calibration and test flights and of the regions, by name."""
    if config.cache is None:
        raise UsageError(f"preset {config.name} has no [cache]: give a flyover preset")
    counts = {
        "train": config.cache.train_clips,
        "calibration": config.cache.calibration_clips,
        "test": config.cache.test_clips,
        **dict.fromkeys(REGIONS, _REGION_CLIPS),
    }
    return {
        name: cache_flights(
            model.dual_encoder,
            config,
            textures,
            count,
            _STREAMS[name],
            run.features(name),
            REGIONS.get(name),
            island_share=config.flight_recipe().island_share if name == "train" else 0.0,
        )  # fmt: skip
        for name, count in sorted(counts.items(), key=lambda item: item[1])
    }


def train_phases(model: VidTag, config: TrainingConfig, run: RunFolder, store: FeatureStore) -> None:
    """Train Phase I and GeoRefiner on top of it, in place; all weights end on the half-precision grid."""
    if run.is_done("phase_one"):
        run.load_stage("phase_one", model)
    else:
        torch.manual_seed(config.seed)
        train_phase_one(model, config.phase_one, store, run.stage("phase_one"), config.seed)
        save_weights(run.weights("phase_one"), model.state_dict())
    round_weights_(model)
    if run.is_done("phase_two"):
        run.load_stage("phase_two", model)
    else:
        train_phase_two(model, config.phase_two, config.noise, store, run.stage("phase_two"), config.seed)
        round_weights_(model)
        save_weights(run.weights("phase_two"), model.state_dict())
