"""Phase I (SPEC 2.8, 2.9): TempGeo, frame MLP and location encoder learn to retrieve each frame's place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.config import PhaseConfig
from training.features import FeatureStore
from training.loop import run_loop, warmup_then_decay
from training.losses import frame_to_location_loss
from training.model.vidtag import VidTag


def train_phase_one(
    model: VidTag, recipe: PhaseConfig, store: FeatureStore, folder: Path, seed: int,
    branch: slice = slice(None), name: str = "phase_one",
) -> None:  # fmt: skip
    """Train everything but the backbones and GeoRefiner, in place.

    ``branch`` picks the columns of one backbone: the ablations with one branch only.
    """
    parts = [model.frame_mlp, model.location_encoder] + ([model.tempgeo] if model.tempgeo is not None else [])
    modules = nn.ModuleList(parts)
    modules.register_parameter("log_logit_scale", model.log_logit_scale)
    queue = RecentPlaces(recipe.queue_points)
    modules.append(queue)
    optimizer = torch.optim.Adam(modules.parameters(), lr=recipe.learning_rate)

    def step(number: int) -> dict[str, Tensor]:
        chosen = np.random.default_rng((seed, 3, number)).choice(len(store), recipe.batch_clips, replace=False)
        features = branch_features(store.features[np.sort(chosen)], branch)
        latlon = torch.from_numpy(store.latlon_deg[np.sort(chosen)]).flatten(0, 1)  # (B*T, 2)
        _, embedding = model.embed_frames(features)
        recent = queue.filled()
        locations = model.location_encoder(torch.cat([latlon, recent]))
        loss = frame_to_location_loss(
            embedding.flatten(0, 1), locations[: len(latlon)], model.logit_scale(), locations[len(latlon) :]
        )
        queue.push(latlon)
        return {"loss": loss, "scale": model.logit_scale()}

    modules.train()
    run_loop(
        name, folder, modules, optimizer, step, recipe.steps,
        warmup_then_decay(recipe.warmup_steps, recipe.steps_per_epoch, recipe.decay_per_epoch), seed=seed,
    )  # fmt: skip
    modules.eval()


def branch_features(features: np.ndarray, branch: slice) -> Tensor:
    """Return features (B, T, d) float32 of one branch or all, normalised as the encoder would."""
    chosen = torch.from_numpy(np.array(features[..., branch], dtype=np.float32))  # a copy: the store is read-only
    return functional.normalize(chosen, dim=-1)


class RecentPlaces(nn.Module):
    """GeoCLIP's queue of recent true coordinates, further negatives; empty at the start, never filled with invented
    places.
    """

    places: Tensor
    count: Tensor

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.register_buffer("places", torch.zeros(capacity, 2, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def filled(self) -> Tensor:
        """Return the places (Q, 2) now in the queue, in degrees."""
        return self.places[: int(self.count)]

    def push(self, latlon_deg: Tensor) -> None:
        """Put places (N, 2) in front; the oldest fall out."""
        capacity = len(self.places)
        kept = torch.cat([latlon_deg, self.filled()])[:capacity]
        self.places[: len(kept)] = kept
        self.count.fill_(len(kept))
