"""A model from data sets on disk: cache, Phase I, Phase II, and the folder that the export reads."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from training.config import TrainingConfig
from training.config_files import config_json
from training.data.sample import Sample
from training.features.clips import DrawnClips, JoinedClips
from training.features.encode import Encoding, ReadFrames, cache_samples
from training.features.held_out import SplitSamples
from training.features.mix import Candidates, choose_training_clips, mix_clips, require_enough_clips
from training.features.store import FeatureCache, is_finished, open_cache
from training.model.backbone_weights import load_published
from training.model.dual_encoder import DualFrameEncoder
from training.model.geoclip_start import start_from_geoclip
from training.model.rounding import round_weights_
from training.model.vidtag import VidTag, build_dual_encoder, build_heads
from training.phases.execution import Execution, stoppable
from training.phases.phase_one import check_division, train_phase_one
from training.phases.phase_two import train_phase_two
from training.run.final import write_final
from training.run.folder import RunFolder

_log = logging.getLogger("training")

_POLL_S = 5.0


@dataclass(frozen=True, slots=True)
class BackboneSources:
    """Where the published weights are: a file, a folder or ``hub:NAME`` each; empty is what the preset says."""

    clip: str = ""
    second: str = ""
    geoclip: Path | None = None
    allow_download: bool = False


def train_model(
    config: TrainingConfig,
    sets: Mapping[str, SplitSamples],
    cache: Path,
    out: Path,
    *,
    sources: BackboneSources,
    encoding: Encoding,
    read: ReadFrames,
    execution: Execution,
) -> None:
    """Train a model on data sets by name into ``out``; everything is resumed where a stopped run left it.

    Features go into ``cache``, a folder for each data set. ``out/final`` then has all that the export asks for. Raises
    InputError that says why when there is too little to train from.
    """
    _check_at_once(config, sets, execution)
    run = RunFolder(out)
    record: dict[str, object] = {"preset": json.loads(config_json(config)), "torch": torch.__version__}
    encoder = published_encoder(config, sources, record) if execution.ranks.is_first else None
    caches = cache_sets(encoder, sets, cache, encoding, config, read, execution)
    clips = choose_training_clips(config, sets, caches)
    record["data"] = _describe(caches, clips, config.clips.frames)
    if execution.ranks.is_first:
        run.write_record(record)
    source = JoinedClips(tuple(DrawnClips(caches[name], own, config.clips.frames) for name, own in clips.items()))
    torch.manual_seed(config.seed)
    model = build_heads(config.model, encoder or DualFrameEncoder(torch.nn.Identity(), torch.nn.Identity()))
    if config.model.location.start == "geoclip":
        start_from_geoclip(model, config.model.location.sigmas, sources.geoclip)
    with stoppable() as request:
        train_phases(model, config, source, run, dataclasses.replace(execution, stop=request))
    if execution.ranks.is_first:
        write_final(model, config, sets, caches, clips, read, run)


def _check_at_once(config: TrainingConfig, sets: Mapping[str, SplitSamples], execution: Execution) -> None:
    """Raise InputError or UsageError for what would fail after hours of encoding."""
    usable = {
        name: [s for s in split.samples if s.key in split.train_keys and len(s) >= config.clips.frames]
        for name, split in sets.items()
    }
    require_enough_clips(config, sets, {name: len(samples) for name, samples in usable.items()})
    candidates = {
        name: Candidates(
            np.array([sample.latlon_deg[0] for sample in samples]).reshape(-1, 2),
            np.array([sample.stratum for sample in samples], dtype=str),
        )
        for name, samples in usable.items()
    }
    counts = {name: len(own) for name, own in mix_clips(config.mix, candidates, config.seed).items()}
    require_enough_clips(config, sets, counts)
    for recipe in (config.phase_one, config.phase_two):
        check_division(recipe.over(sum(counts.values())), execution)


def train_phases(
    model: VidTag, config: TrainingConfig, clips: JoinedClips, run: RunFolder, execution: Execution
) -> None:
    """Run both phases, in place; each ends with its weights on the half-precision grid, so that a bundle loses none."""

    def one() -> None:
        train_phase_one(model, config.phase_one, clips, run.stage("phase_one"), config.seed, execution=execution)

    def two() -> None:
        train_phase_two(
            model, config.phase_two, config.noise, clips, run.stage("phase_two"), config.seed, execution=execution
        )

    for name, phase in (("phase_one", one), ("phase_two", two)):
        is_done = run.is_done(name)
        execution.ranks.wait()  # all have looked before the first writes
        if is_done:
            run.load_heads(name, model)
            continue
        phase()
        for part_name, part in model.named_children():
            if part_name != "dual_encoder":
                round_weights_(part)
        if execution.ranks.is_first:
            run.save_heads(name, model)


def cache_sets(
    encoder: DualFrameEncoder | None,
    sets: Mapping[str, SplitSamples],
    cache: Path,
    encoding: Encoding,
    config: TrainingConfig,
    read: ReadFrames,
    execution: Execution,
) -> dict[str, FeatureCache]:
    """Return the finished caches of data sets by name, each in its folder below ``cache``; no encoder: wait for it."""
    return {
        name: _cache(encoder, split.samples, cache / name, encoding, config, read, execution)
        for name, split in sets.items()
    }


def published_encoder(config: TrainingConfig, sources: BackboneSources, record: dict[str, object]) -> DualFrameEncoder:
    """Return the published backbones on the half-precision grid; where they come from is put into ``record``."""
    model = config.model
    encoder = build_dual_encoder(model)
    second = model.dino.weights if model.siglip is None else model.siglip.weights
    records = load_published(
        encoder, sources.clip or model.clip.weights, sources.second or second, sources.allow_download
    )
    record["backbones"] = {name: dataclasses.asdict(weights) for name, weights in records.items()}
    round_weights_(encoder)  # before anything is encoded, so that cache, training and bundle agree
    return encoder


def _cache(
    encoder: DualFrameEncoder | None,
    samples: Sequence[Sample],
    folder: Path,
    encoding: Encoding,
    config: TrainingConfig,
    read: ReadFrames,
    execution: Execution,
) -> FeatureCache:
    """Return the finished cache of a data set: the first rank encodes, the others wait for it."""
    if encoder is not None:
        made = cache_samples(encoder, samples, folder, encoding, config.clips, read)
        encoder.to("cpu")
        return made
    while not is_finished(folder):
        time.sleep(_POLL_S)  # not a collective: those give up after minutes, and this may take hours
    return open_cache(folder)


def _describe(
    caches: Mapping[str, FeatureCache], clips: Mapping[str, np.ndarray], frames: int
) -> dict[str, dict[str, object]]:
    """Return for each data set what its cache is and how many clips train, and tell of those that are too short."""
    described: dict[str, dict[str, object]] = {}
    for name, cache in caches.items():
        short = int((cache.listing.counts() < frames).sum())
        _log.info(
            "%s: %d sequences, %d train, %d unreadable, %d shorter than %d frames",
            name, len(cache.listing), len(clips[name]), len(cache.failed), short, frames,
        )  # fmt: skip
        described[name] = {
            "cache": dataclasses.asdict(cache.identity), "sequences": len(cache.listing),
            "training": len(clips[name]), "unreadable": len(cache.failed), "too_short": short,
        }  # fmt: skip
    return described
