"""A start for a location encoder that has no published weights: places look as the backbones see them (flyover only).

A location encoder that starts from random weights is known to fail (docs/method.md 2.5), and GeoCLIP's weights fit
``equal_earth`` at full width only. So it is fitted to the embeddings of frames by the heads of the backbones'
pre-training: it is the encoder of places that learns the map by heart, from cached features, which is cheap.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from training.config import LocationTrainingConfig
from training.flyover.backbones import BranchHeads, retrieval_loss, target_shares
from training.flyover.features import FeatureStore
from training.model.location_encoder import LocationEncoder
from training.model.vidtag import MAX_LOGIT_SCALE
from training.phases.loop import run_loop, warmup_then_linear

_WARMUP_STEPS = 50
_CLIPS = 256


def fit_locations(
    encoder: LocationEncoder, heads: BranchHeads, store: FeatureStore, recipe: LocationTrainingConfig, folder: Path,
    seed: int,
) -> None:  # fmt: skip
    """Train the encoder so that each frame's embedding finds its place among those of a batch, in place."""
    embeddings = embed_frames(heads, store)
    latlon = store.latlon_deg.reshape(-1, 2)
    modules = nn.ModuleList([encoder])
    modules.register_parameter("log_scale", nn.Parameter(heads.log_scales.detach()[0].clone()))
    optimizer = torch.optim.Adam(modules.parameters(), lr=recipe.learning_rate)

    def step(number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((seed, 1, number))
        rows = np.sort(rng.choice(len(latlon), min(recipe.batch_places, len(latlon)), replace=False))
        places = latlon[rows]
        shares = target_shares(places, places, recipe.target_km)
        with torch.autocast("cpu", torch.bfloat16):
            located = encoder(torch.from_numpy(places))
        scale = modules.log_scale.exp().clamp(max=MAX_LOGIT_SCALE)
        loss = retrieval_loss(embeddings[torch.from_numpy(rows)].float(), located.float(), shares, scale)
        return {"loss": loss, "scale": scale}

    run_loop(
        "locations", folder, modules, optimizer, step, recipe.steps, warmup_then_linear(_WARMUP_STEPS, recipe.steps),
        seed=seed,
    )  # fmt: skip


@torch.no_grad()
def embed_frames(heads: BranchHeads, store: FeatureStore) -> Tensor:
    """Return the embeddings (frames, E) float16 of all frames of a store."""
    parts = [
        heads.embed(torch.from_numpy(store.features[begin : begin + _CLIPS].astype(np.float32))).flatten(0, 1).half()
        for begin in range(0, len(store), _CLIPS)
    ]
    return torch.cat(parts)
