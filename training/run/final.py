"""What training leaves for evaluation and export: the contents of the folder ``final`` of a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from training.calibration.calibrate import calibrate_on_clips, locate_clips, open_torch_gallery
from training.config import TrainingConfig
from training.evaluation.predictions import PredictionInfo, join_clips
from training.evaluation.score import score_predictions
from training.features.encode import ReadFrames
from training.features.held_out import HeldOutClips, SplitSamples, held_out_clips
from training.features.store import FeatureCache
from training.model.vidtag import VidTag
from training.run.folder import FinishedRun, RunFolder, Splits, domain_arrays, export_command, write_run
from vidtag_cli.calibration.fit import CalibrationPlan
from vidtag_cli.gallery.sources import box_points
from vidtag_cli.gallery.store import Gallery
from vidtag_cli.geo.antimeridian import bounding_box
from vidtag_cli.geo.grid import KM_PER_DEGREE
from vidtag_cli.geo.sphere import haversine_km, wrap_longitude_deg
from vidtag_cli.pipeline.domain import fit_domain_model

_log = logging.getLogger("training")

_DOMAIN_ROWS = 20_000

_PLACE_SPACINGS = 4.0
"""Gallery points nearer to each other than so many steps of the grid are one place."""

_RESAMPLES = 1
"""Of the metrics only the values are kept, not their intervals; ``predict`` and ``evaluate`` give those."""

REGION_KM = 50.0
"""Positions this near to one another are one region: a city with its outskirts."""


def write_final(
    model: VidTag,
    config: TrainingConfig,
    sets: Mapping[str, SplitSamples],
    caches: Mapping[str, FeatureCache],
    clips: Mapping[str, np.ndarray],
    read: ReadFrames,
    run: RunFolder,
) -> None:
    """Write weights, configuration, gallery, domain, splits, some pictures to compare engines on, and what the held-out
    sequences say: calibration and metrics. A bundle is made from these.
    """
    rows = {name: _training_rows(caches[name], own) for name, own in clips.items()}
    places = np.concatenate([caches[name].listing.latlon_deg[own] for name, own in rows.items()])
    grid = config.gallery
    places_deg = reference_gallery(places, grid.spacing_km, grid.padding_km)
    features = np.concatenate([caches[name].rows(_thinned(own, _DOMAIN_ROWS)) for name, own in rows.items()])
    domain = fit_domain_model(features.astype(np.float32))
    held_out = held_out_clips(sets, caches, config.clips.frames, config.model.feature_dim)
    gallery = open_torch_gallery(model, places_deg, run.calibration_gallery)
    plan = CalibrationPlan(place_radius_km=_PLACE_SPACINGS * grid.spacing_km)
    finished = FinishedRun(
        config=config,
        model=model,
        gallery_latlon_deg=places_deg,
        calibration=calibrate_on_clips(model, held_out.calibration, held_out.test, domain, gallery, plan),
        domain_arrays=domain_arrays(domain),
        metrics=_metrics(model, held_out, gallery),
        parity_frames_rgb=_pictures(config, sets, caches, clips, read),
    )
    write_run(run, finished, _splits(sets, caches, clips))
    _log.info("%s: trained and measured; make a bundle of it with: %s", run.final, export_command(run, config))


def _splits(
    sets: Mapping[str, SplitSamples], caches: Mapping[str, FeatureCache], clips: Mapping[str, np.ndarray]
) -> Splits:
    return {
        name: {
            "train": sorted(caches[name].listing.clips[clip].key for clip in clips[name]),
            "held_out": sorted(sample.key for sample in split.samples if sample.key not in split.train_keys),
        }
        for name, split in sets.items()
    }


def _pictures(
    config: TrainingConfig, sets: Mapping[str, SplitSamples], caches: Mapping[str, FeatureCache],
    clips: Mapping[str, np.ndarray], read: ReadFrames,
) -> np.ndarray:  # fmt: skip
    """Return the first frames (T, S, S, 3) uint8 of the first sequence that trained."""
    name = next(iter(clips))
    key = caches[name].listing.clips[clips[name][0]].key
    sample = next(sample for sample in sets[name].samples if sample.key == key)
    return read(sample, np.arange(config.clips.frames), config.model.frame_size_px)


def _metrics(model: VidTag, held_out: HeldOutClips, gallery: Gallery) -> dict[str, float]:
    """Return the metrics of clips of the length of training; only their number, 0, where nothing is held out."""
    parts = [part for part in (held_out.calibration, held_out.test) if len(part.features)]
    truth = [clip for part in parts for clip in part.latlon_deg]
    if not truth:
        return {"held_out_clips": 0.0}
    located = [clip for part in parts for clip in locate_clips(model, part, gallery).latlon_deg]
    keys = [str(number) for number in range(len(truth))]
    score = score_predictions(join_clips(PredictionInfo("", "", ""), keys, truth, located), resamples=_RESAMPLES)
    shares = {f"held_out_share_within_{limit:g}_km": share.value for limit, share in score.frame_share_within.items()}
    return {
        "held_out_clips": float(score.clips), "held_out_median_km": score.frame_median_km.value, **shares,
        "held_out_mean_dfd_km": score.dfd_km.value, "held_out_mean_mrd_km": score.mrd_km.value,
    }  # fmt: skip


def _training_rows(cache: FeatureCache, clips: np.ndarray) -> np.ndarray:
    offsets = cache.listing.offsets
    return np.concatenate([np.arange(offsets[clip], offsets[clip + 1]) for clip in clips])


def _thinned(rows: np.ndarray, limit: int) -> np.ndarray:
    return rows[:: max(1, len(rows) // limit)]


def reference_gallery(latlon_deg: np.ndarray, spacing_km: float, padding_km: float) -> np.ndarray:
    """Return places (G, 2): a grid of ``spacing_km`` over the padded box of each region of training positions (N, 2).

    A region of a single place, as where a data set knows only its cities' centres, gives that place itself.
    """
    grids = []
    for region in regions(np.unique(latlon_deg, axis=0)):
        grids.append(region if len(region) == 1 else _box_grid(region, spacing_km, padding_km))
    return np.concatenate(grids)


def regions(latlon_deg: np.ndarray, radius_km: float = REGION_KM) -> list[np.ndarray]:
    """Return the positions (N, 2) parted into groups, each within ``radius_km`` of its first member."""
    left, parts = latlon_deg, []
    while len(left):
        near = np.asarray(haversine_km(left, left[0])) <= radius_km
        parts.append(left[near])
        left = left[~near]
    return parts


def _box_grid(region: np.ndarray, spacing_km: float, padding_km: float) -> np.ndarray:
    south, west, north, east = _south_west_north_east(region)
    pad_lat = padding_km / KM_PER_DEGREE
    widest = max(abs(south - pad_lat), abs(north + pad_lat))
    pad_lon = min(pad_lat / max(np.cos(np.radians(min(widest, 89.0))), 1e-3), 90.0)
    west, east = (float(wrap_longitude_deg(np.array(lon))) for lon in (west - pad_lon, east + pad_lon))
    return box_points(spacing_km, max(south - pad_lat, -90.0), west, min(north + pad_lat, 90.0), east).latlon_deg


def _south_west_north_east(region: np.ndarray) -> tuple[float, float, float, float]:
    west, south, east, north = bounding_box(region)
    return south, west, north, east
