"""Backbone features of synthetic flights, computed once: what flyover's Phases I and II train from (docs/method.md
5).
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.config import TrainingConfig
from training.features.clips import ClipBatch
from training.features.listing import CacheIdentity, CacheListing, ClipRecord, weights_fingerprint
from training.features.store import FeatureCache, open_cache
from training.features.writer import open_writer
from training.flyover.camera import render_clips
from training.flyover.flights import Flights, draw_flights
from training.model.dual_encoder import DualFrameEncoder

_log = logging.getLogger("training")

CLIPS_PER_STEP = 16


@dataclass(frozen=True, slots=True)
class FeatureStore:
    """Clips of equal length: ``features`` (clips, T, D) float16 memory-mapped, ``latlon_deg`` (clips, T, 2) float64,
    ``style`` (clips,) index of imagery.
    """

    features: np.ndarray
    latlon_deg: np.ndarray
    style: np.ndarray

    def __len__(self) -> int:
        return len(self.features)

    def batch(self, numbers: np.ndarray, rng: np.random.Generator, own: slice) -> ClipBatch:
        """Return all frames of the clips: nothing is left to be drawn."""
        return ClipBatch(self.features[numbers[own]], self.latlon_deg[numbers])


def open_features(folder: Path) -> FeatureStore:
    """Return a finished store of flights."""
    return _as_flights(open_cache(folder))


def cache_flights(
    encoder: DualFrameEncoder, config: TrainingConfig, textures: Tensor, count: int, stream: int, folder: Path,
    box: tuple[float, float, float, float] | None = None, island_share: float = 0.0,
) -> FeatureStore:  # fmt: skip
    """Return the features of ``count`` flights, computing those that a killed run has not.

    ``stream`` separates the splits: flights of different streams share no random numbers. A store made by other
    weights or settings is refused by InputError, never mixed. ``box`` and ``island_share`` as for ``draw_flights``.
    """
    recipe = config.flight_recipe()
    flights = draw_flights(recipe, count, np.random.default_rng((config.seed, stream)), box, island_share=island_share)
    listing = _list_flights(flights, stream)
    size_px = config.model.frame_size_px
    recipe_sha256 = hashlib.sha256(repr((recipe, config.seed, stream)).encode()).hexdigest()[:16]
    identity = CacheIdentity(
        weights_fingerprint(encoder),
        f"{size_px} px flights {recipe_sha256}",
        listing.sha256(),
        config.model.feature_dim,
    )
    with open_writer(folder, identity, listing, rows_per_shard=listing.rows) as writer:
        for begin in range(writer.rows // recipe.frames, count, CLIPS_PER_STEP):
            part = slice(begin, min(begin + CLIPS_PER_STEP, count))
            rng = np.random.default_rng((config.seed, stream, begin))
            features = encode_flights(encoder, textures, _slice(flights, part), size_px, rng)
            writer.append(features.reshape(-1, features.shape[-1]))
            if (begin // CLIPS_PER_STEP) % 25 == 24 or part.stop == count:
                _log.info("features %s: %d of %d clips", folder.name, part.stop, count)
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


def _list_flights(flights: Flights, stream: int) -> CacheListing:
    clips, frames = flights.heading_deg.shape
    records = tuple(
        ClipRecord(f"flights/{stream}/{index}", f"{stream}/{index}", str(style))
        for index, style in enumerate(flights.style)
    )
    offsets = np.arange(clips + 1, dtype=np.int64) * frames
    return CacheListing(
        records, offsets, flights.latlon_deg.reshape(-1, 2), np.tile(np.arange(frames, dtype=float), clips)
    )


def _as_flights(cache: FeatureCache) -> FeatureStore:
    listing, (features,) = cache.listing, cache.shards
    return FeatureStore(
        features.reshape(len(listing), -1, features.shape[-1]),
        listing.latlon_deg.reshape(len(listing), -1, 2),
        np.array([int(clip.stratum) for clip in listing.clips]),
    )


def _slice(flights: Flights, part: slice) -> Flights:
    return Flights(flights.latlon_deg[part], flights.heading_deg[part], flights.footprint_km[part], flights.style[part])
