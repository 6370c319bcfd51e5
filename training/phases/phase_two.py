"""Phase II (SPEC 2.8, 2.9): GeoRefiner learns to undo the mistakes of Phase I; everything else is frozen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.config import NoiseConfig, PhaseConfig
from training.features import FeatureStore
from training.loop import run_loop, warmup_then_decay
from training.losses import refinement_loss
from training.model.vidtag import VidTag
from training.noise import disturb_positions
from training.phases.phase_one import branch_features


def train_phase_two(
    model: VidTag, recipe: PhaseConfig, noise: NoiseConfig, store: FeatureStore, folder: Path, seed: int
) -> None:
    """Train GeoRefiner from noisy true positions, in place."""
    model.eval()
    optimizer = torch.optim.Adam(model.georefiner.parameters(), lr=recipe.learning_rate)

    def step(number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((seed, 4, number))
        chosen = np.sort(rng.choice(len(store), recipe.batch_clips, replace=False))
        truth = store.latlon_deg[chosen]
        noisy = disturb_positions(truth, rng, noise.collapse_share, noise.jitter_deg, noise.shift_deg)
        with torch.no_grad():
            refined_features, _ = model.embed_frames(branch_features(store.features[chosen], slice(None)))
            wanted = _embed_clips(model, truth)
            queries = _embed_clips(model, noisy)
        refined = model.georefiner(refined_features, queries)
        loss = refinement_loss(refined, wanted, recipe.alpha, recipe.beta)
        with torch.no_grad():
            before, after = ((emb * wanted).sum(-1).mean() for emb in (queries, refined))
        return {"loss": loss, "cosine_before": before, "cosine_after": after}

    model.georefiner.train()
    run_loop(
        "phase_two", folder, model.georefiner, optimizer, step, recipe.steps,
        warmup_then_decay(recipe.warmup_steps, recipe.steps_per_epoch, recipe.decay_per_epoch), seed=seed,
    )  # fmt: skip
    model.georefiner.eval()


def _embed_clips(model: VidTag, latlon_deg: np.ndarray) -> Tensor:
    """Return location embeddings (B, T, E) of positions (B, T, 2)."""
    clips, frames, _ = latlon_deg.shape
    return model.location_encoder(torch.from_numpy(latlon_deg.reshape(-1, 2))).reshape(clips, frames, -1)
