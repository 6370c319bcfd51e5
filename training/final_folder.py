"""What training leaves for evaluation and export: the folder ``final`` of a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.checkpoint import WEIGHTS_FILE, save_weights, write_json
from training.config import TrainingConfig, config_json
from training.data.sample import Sample
from training.feature_cache.encode import ReadFrames
from training.feature_cache.store import FeatureCache
from training.model.vidtag import VidTag
from training.reference_gallery import reference_gallery
from vidtag_cli.pipeline.domain import fit_domain_model

_log = logging.getLogger("training")

_DOMAIN_ROWS = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class SplitSamples:
    """A data set's samples, and the keys of those that may be trained from; the others are held out."""

    samples: Sequence[Sample]
    train_keys: frozenset[str]


def write_final(
    model: VidTag,
    config: TrainingConfig,
    sets: Mapping[str, SplitSamples],
    caches: Mapping[str, FeatureCache],
    clips: Mapping[str, np.ndarray],
    read: ReadFrames,
    final: Path,
) -> None:
    """Write weights, configuration, gallery, domain, splits and some pictures to compare engines on.

    The export also asks for calibration and metrics: these are measured, not trained.
    """
    save_weights(final / WEIGHTS_FILE, model.state_dict())
    (final / "config.json").write_text(config_json(config) + "\n", "utf-8")
    rows = {name: _training_rows(caches[name], chosen) for name, chosen in clips.items()}
    places = np.concatenate([caches[name].listing.latlon_deg[found] for name, found in rows.items()])
    grid = config.gallery
    np.save(final / "gallery_latlon.npy", reference_gallery(places, grid.spacing_km, grid.padding_km))
    features = np.concatenate([caches[name].rows(_thinned(found, _DOMAIN_ROWS)) for name, found in rows.items()])
    domain = fit_domain_model(features.astype(np.float32))
    np.savez(final / "domain.npz", mean=domain.mean, whitening=domain.whitening)
    write_json(final / "splits.json", {
        name: {
            "train": sorted(caches[name].listing.clips[clip].key for clip in clips[name]),
            "held_out": sorted(each.key for each in split.samples if each.key not in split.train_keys),
        }
        for name, split in sets.items()
    })  # fmt: skip
    name = next(iter(clips))
    key = caches[name].listing.clips[clips[name][0]].key
    sample = next(each for each in sets[name].samples if each.key == key)
    np.save(final / "parity_frames.npy", read(sample, np.arange(config.clips.frames), config.model.frame_size_px))
    _log.info("%s: trained; evaluation and calibration come next", final)


def _training_rows(cache: FeatureCache, clips: np.ndarray) -> np.ndarray:
    offsets = cache.listing.offsets
    return np.concatenate([np.arange(offsets[clip], offsets[clip + 1]) for clip in clips])


def _thinned(rows: np.ndarray, limit: int) -> np.ndarray:
    return rows[:: max(1, len(rows) // limit)]
