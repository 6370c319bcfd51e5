"""What a study reads of a flyover run: flights with their features, and the weights that every row starts from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from training.checkpoint import load_weights
from training.config import TrainingConfig
from training.config_files import load_config
from training.features.clips import ClipBatch, draw_frames
from training.features.listing import CacheIdentity
from training.features.store import open_cache
from training.flyover.backbones import BranchHeads, build_branch_heads
from training.flyover.evaluate import REGIONS
from training.flyover.features import FeatureStore, open_features
from training.flyover.imagery import STYLES
from training.run.folder import RunFolder, has_config, read_config
from vidtag_cli.errors import InputError, UsageError
from vidtag_cli.geo.grid import KM_PER_DEGREE

ANTIMERIDIAN = "antimeridian"
_ACROSS = ("test", "fiji", "chukotka")
"""Sets of flights of which some come near 180 degrees."""


@dataclass(frozen=True, slots=True, eq=False)
class FlyoverRun:
    """A run: its ``preset``, flights by the name of their set, the weights of its location encoder before Phase I, and
    the ``heads`` that this encoder was fitted to; ``hashes`` of features, locations and heads.
    """

    preset: TrainingConfig
    sets: Mapping[str, FlightSet]
    locations: dict[str, Tensor]
    heads: BranchHeads
    hashes: dict[str, str]


def open_run(folder: Path, sets: Sequence[str], preset: str | None = None) -> FlyoverRun:
    """Return a run with its training flights and the sets named; ``preset`` is by default that of its final folder.

    Raises InputError when the folder is no flyover run, is not that far, or was made with another preset.
    """
    config = _config_of(folder, preset)
    flights = {name: open_flight_set(folder, name) for name in dict.fromkeys(("train", *sets))}
    columns = {flight_set.store.features.shape[-1] for flight_set in flights.values()}
    if columns != {config.model.feature_dim}:
        raise InputError(
            f"{folder}: its features have {', '.join(map(str, sorted(columns)))} columns, preset {config.name} has "
            f"{config.model.feature_dim}; give --preset of the run"
        )
    heads, locations = build_branch_heads(config), load_weights(_require(folder, "locations").weights("locations"))
    _require(folder, "heads").load_stage("heads", heads)
    train = flights["train"].identity
    hashes = {
        "features": f"{train.weights} {train.listing}",
        "locations": _digest(locations),
        "heads": _digest(heads.state_dict()),
    }
    return FlyoverRun(config, flights, locations, heads, hashes)


def _config_of(folder: Path, preset: str | None) -> TrainingConfig:
    if preset is None and has_config(folder):
        return read_config(folder)
    return load_config(preset or "flyover")


def _require(folder: Path, stage: str) -> RunFolder:
    run = RunFolder(folder)
    if not run.is_done(stage):
        raise InputError(
            f"{run.weights(stage)}: missing: not a flyover run, or it is not that far yet; make it with "
            f"'python -m training flyover --out {folder}'"
        )
    return run


def _digest(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode() + value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class FlightSet:
    """Flights of one of the run's random streams: ``keys`` of the clips, their features and truth, what they are of."""

    name: str
    keys: tuple[str, ...]
    store: FeatureStore
    identity: CacheIdentity

    @property
    def frames(self) -> int:
        """The number of frames of a flight."""
        return self.store.latlon_deg.shape[1]


def open_flight_set(run: Path, name: str) -> FlightSet:
    """Return a finished set of flights of a flyover run; raises InputError when the run has not cached it."""
    folder = RunFolder(run).features(name)
    try:
        cache = open_cache(folder)
        return FlightSet(name, tuple(clip.key for clip in cache.listing.clips), open_features(folder), cache.identity)
    except InputError as error:
        raise InputError(
            f"{run}: not a flyover run with finished features ({error}); make it with "
            f"'python -m training flyover --out {run}'"
        ) from error


@dataclass(frozen=True, slots=True, eq=False)
class DrawnFrames:
    """Flights as shorter clips for training: ``frames`` of each, drawn anew whenever a flight is asked for."""

    store: FeatureStore
    frames: int

    def __len__(self) -> int:
        return len(self.store)

    def batch(self, clips_asked: np.ndarray, rng: np.random.Generator, own: slice) -> ClipBatch:
        flown = self.store.latlon_deg.shape[1]
        frames = np.stack([draw_frames(flown, rng, self.frames) for _ in clips_asked])  # (B, T)
        clips = clips_asked[:, None]
        return ClipBatch(self.store.features[clips[own], frames[own]], self.store.latlon_deg[clips, frames])


def sets_of(subset: str) -> tuple[str, ...]:
    """Return the sets of flights that a subset is taken from; raises UsageError for a subset nobody knows."""
    if subset == "test" or subset in STYLES:
        return ("test",)
    if subset in REGIONS:
        return (subset,)
    if subset == ANTIMERIDIAN:
        return _ACROSS
    raise UsageError(f"no subset {subset!r} of flights: there are test, {', '.join((*STYLES, *REGIONS, ANTIMERIDIAN))}")


def choose_flights(subset: str, sets: Mapping[str, FlightSet], near_km: float) -> list[tuple[str, np.ndarray]]:
    """Return the flights of a subset: a name of a set and a mask (C,) of its clips, once or more.

    ``antimeridian`` is every flight with a frame within ``near_km`` of 180 degrees along its parallel.
    """
    masks = []
    for name in sets_of(subset):
        store = sets[name].store
        mask: np.ndarray = np.ones(len(store), dtype=bool)
        if subset in STYLES:
            mask = np.asarray(store.style == STYLES.index(subset))
        elif subset == ANTIMERIDIAN:
            mask = np.any(_to_antimeridian_km(store.latlon_deg) <= near_km, axis=1)
        masks.append((name, mask))
    return masks


def names_of_sets(subsets: Sequence[str]) -> tuple[str, ...]:
    """Return the sets that these subsets are taken from, each once."""
    return tuple(dict.fromkeys(name for subset in subsets for name in sets_of(subset)))


def _to_antimeridian_km(latlon_deg: np.ndarray) -> np.ndarray:
    lat, lon = latlon_deg[..., 0], latlon_deg[..., 1]
    return np.asarray((180.0 - np.abs(lon)) * KM_PER_DEGREE * np.cos(np.radians(lat)))
