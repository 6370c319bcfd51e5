"""Backbone features of clips, computed once and memory-mapped: what Phases I and II train from (SPEC 2.9)."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.checkpoint import write_json
from training.config import TrainingConfig
from training.flyover.flights import Flights, draw_flights
from training.flyover.scene import render_clips
from training.model.dual_encoder import DualFrameEncoder

_log = logging.getLogger("training")

CLIPS_PER_STEP = 16


@dataclass(frozen=True, slots=True)
class FeatureStore:
    """``features`` (clips, T, D) float16 memory-mapped, ``latlon_deg`` (clips, T, 2) float64, ``style`` (clips,)."""

    features: np.ndarray
    latlon_deg: np.ndarray
    style: np.ndarray

    def __len__(self) -> int:
        return len(self.features)


def open_features(folder: Path) -> FeatureStore:
    """Return a finished store."""
    return FeatureStore(
        np.load(folder / "features.npy", mmap_mode="r"),
        np.load(folder / "latlon_deg.npy"),
        np.load(folder / "style.npy"),
    )


def cache_flights(
    encoder: DualFrameEncoder, config: TrainingConfig, textures: Tensor, count: int, stream: int, folder: Path,
    box: tuple[float, float, float, float] | None = None,
) -> FeatureStore:  # fmt: skip
    """Return the features of ``count`` flights, computing those that a killed run has not.

    ``stream`` separates the splits: flights of different streams share no random numbers. A store made by other
    weights or settings is refused by ValueError, never mixed.
    """
    recipe = config.flight_recipe()
    flights = draw_flights(recipe, count, np.random.default_rng((config.seed, stream)), box)
    folder.mkdir(parents=True, exist_ok=True)
    identity: dict[str, object] = {
        "count": count,
        "stream": stream,
        "box": list(box) if box else None,
        "weights": _fingerprint(encoder),
    }
    done = _resume_point(folder, identity)
    shape = (count, recipe.frames, config.model.feature_dim)
    features = np.lib.format.open_memmap(folder / "features.npy", "r+" if done else "w+", dtype=np.float16, shape=shape)
    np.save(folder / "latlon_deg.npy", flights.latlon_deg)
    np.save(folder / "style.npy", flights.style)
    for begin in range(done, count, CLIPS_PER_STEP):
        chosen = slice(begin, min(begin + CLIPS_PER_STEP, count))
        rng = np.random.default_rng((config.seed, stream, begin))
        features[chosen] = encode_flights(encoder, textures, _slice(flights, chosen), config.model.frame_size_px, rng)
        if (begin // CLIPS_PER_STEP) % 25 == 24 or chosen.stop == count:
            features.flush()
            write_json(folder / "progress.json", {**identity, "done": chosen.stop})
            _log.info("features %s: %d of %d clips", folder.name, chosen.stop, count)
    return open_features(folder)


@torch.no_grad()
def encode_flights(
    encoder: DualFrameEncoder, textures: Tensor, flights: Flights, size_px: int, rng: np.random.Generator
) -> np.ndarray:
    """Return features ``z`` (B, T, D) float32 of rendered flights."""
    encoder.eval()
    frames = render_clips(textures, flights, size_px, rng)  # (B, T, S, S, 3)
    features = encoder(frames.flatten(0, 1))
    return features.reshape(*frames.shape[:2], -1).float().cpu().numpy()


def _slice(flights: Flights, chosen: slice) -> Flights:
    return Flights(
        flights.latlon_deg[chosen], flights.heading_deg[chosen], flights.footprint_km[chosen], flights.style[chosen]
    )


def _fingerprint(encoder: DualFrameEncoder) -> str:
    """Return a short hash of the encoder's weights."""
    import hashlib

    digest = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _resume_point(folder: Path, identity: dict[str, object]) -> int:
    path = folder / "progress.json"
    if not path.is_file():
        return 0
    stored = json.loads(path.read_text("utf-8"))
    done = int(stored.pop("done"))
    if stored != identity:
        raise ValueError(
            f"{folder}: these features were made by {stored}, not by {identity}; remove the folder to redo"
        )
    return done
