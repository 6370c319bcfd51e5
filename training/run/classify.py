"""The classification baselines on real data: from a run's cached features to a predictions file (docs/method.md
2.12).
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from training.baselines.cells import cells_at_level, with_mean_centres
from training.baselines.classifier import CachedRows, CellClassifier, train_classifier
from training.baselines.heads import Branch, CellsConfig, build_head
from training.checkpoint import identify, load_weights, save_weights, write_json
from training.config import ModelConfig
from training.config_files import read_toml
from training.evaluation.predictions import PredictionInfo, join_clips, save_predictions
from training.features.store import FeatureCache
from training.phases.execution import Execution
from training.run.folder import TrainedHeads, open_heads
from training.run.predict import clips_to_ask, query_clips
from vidtag_cli.errors import InputError, UsageError
from vidtag_cli.strict_values import StrictValueError, decode

_log = logging.getLogger("training")

BASELINES_FILE = Path(__file__).parents[1] / "baselines" / "paper.toml"


@dataclass(frozen=True, slots=True)
class Baseline:
    """A classifier over cells on the features of one backbone or both."""

    title: str
    branch: Branch
    cells: CellsConfig


def load_baseline(name: str, steps: int = 0, file: Path = BASELINES_FILE) -> Baseline:
    """Return a baseline of a TOML file, ``steps`` long if given; raises UsageError for a name it does not have."""
    table = read_toml(file)
    if name not in table:
        raise UsageError(f"no baseline {name!r} in {file.name}: there are {', '.join(table)}")
    try:
        baseline = decode(Baseline, table[name])
    except StrictValueError as error:
        raise InputError(f"{file}: {name}: {error}") from error
    cells = dataclasses.replace(baseline.cells, steps=steps or baseline.cells.steps)
    return dataclasses.replace(baseline, cells=cells)


def classify_sets(
    run: Path, baseline: Baseline, caches: Mapping[str, FeatureCache], out: Path, device: torch.device
) -> list[Path]:
    """Train a baseline on what a run trained on, and write ``NAME.npz`` into ``out`` for each data set by name.

    The run gives backbones, features and the split: the same sequences are learned from and held out. A finished
    classifier in ``out`` is kept, a stopped one continued. Raises InputError for a run that is not finished, features
    of other backbones, or no sequence to learn from or to ask.
    """
    trained = open_heads(run)
    sizes = trained.config.model
    for name, cache in caches.items():
        if cache.identity.feature_dim != sizes.feature_dim:
            raise InputError(f"{name}: its features are not of the backbones of {run}; encode it with them")
    asked = {name: clips_to_ask(trained, name, cache) for name, cache in caches.items()}
    columns = _columns(baseline, sizes)
    rows = CachedRows(_training_rows(trained, caches), columns)
    if not len(rows):
        raise InputError(f"{run}: none of {', '.join(caches)} was trained on: there is nothing to learn cells from")
    classifier = _train(baseline, rows, sizes, trained.config.seed, out, device)
    written = []
    for name, cache in caches.items():
        own, queries = query_clips(name, cache, asked[name], 0)
        located = [classifier.locate(CachedRows([(cache, clip)], columns)) for clip in own]
        cells = f"S2 cells of level {baseline.cells.levels[-1]}"
        info = PredictionInfo(baseline.title, queries.dataset, cells)
        path = out / f"{name}.npz"
        save_predictions(
            join_clips(
                info, queries.keys, queries.truth_latlon_deg, located, places=queries.places, centres=queries.centres
            ),
            path,
        )
        written.append(path)
        _log.info("%s: %d sequences located", path, len(located))
    return written


def _columns(baseline: Baseline, sizes: ModelConfig) -> slice:
    clip = sizes.clip.embed_dim
    return {"both": slice(None), "clip": slice(0, clip), "dino": slice(clip, None)}[baseline.branch]


def _training_rows(trained: TrainedHeads, caches: Mapping[str, FeatureCache]) -> list[tuple[FeatureCache, np.ndarray]]:
    """Return all rows of the sequences that the run could train on; of a data set it never saw, none."""
    parts = []
    for name, cache in caches.items():
        if name not in trained.held_out:
            continue
        offsets = cache.listing.offsets
        clips = [
            clip
            for clip in cache.clips_of(trained.config.clips.frames)
            if cache.listing.clips[clip].key not in trained.held_out[name]
        ]
        own = [np.arange(offsets[clip], offsets[clip + 1]) for clip in clips]
        parts.append((cache, np.concatenate([np.zeros(0, np.int64), *own])))
    return parts


def _train(
    baseline: Baseline, rows: CachedRows, sizes: ModelConfig, seed: int, out: Path, device: torch.device
) -> CellClassifier:
    cells, latlon_deg = baseline.cells, rows.latlon_deg()
    partitions = tuple(cells_at_level(latlon_deg, level) for level in cells.levels)
    if cells.mean_centres:
        partitions = tuple(with_mean_centres(partition, latlon_deg) for partition in partitions)
    clip = sizes.clip.embed_dim
    widths = {"both": [clip, sizes.feature_dim - clip], "clip": [clip], "dino": [sizes.feature_dim - clip]}
    torch.manual_seed(seed)
    head = build_head(cells, widths[baseline.branch], [len(partition) for partition in partitions]).to(device)
    recipe = {
        "baseline": dataclasses.asdict(baseline), "seed": seed,
        "features": [[cache.identity.weights, cache.identity.listing, len(own)] for cache, own in rows.parts],
    }  # fmt: skip
    folder = out / "classifiers" / identify(recipe)
    finished = folder / "head.safetensors"
    if finished.is_file():
        head.load_state_dict(load_weights(finished))
        return CellClassifier(head.eval(), partitions)
    write_json(folder / "recipe.json", recipe)
    classifier = train_classifier(
        head, partitions, rows, latlon_deg, folder=folder, steps=cells.steps, batch_frames=cells.batch_frames,
        learning_rate=cells.learning_rate, seed=seed, execution=Execution(device),
    )  # fmt: skip
    save_weights(finished, head.state_dict())
    return classifier
