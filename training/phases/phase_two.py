"""Phase II (SPEC 2.8, 2.9): GeoRefiner learns to undo the mistakes of Phase I; everything else is frozen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.clips import ClipSource, choose_clips
from training.config import NoiseConfig, PhaseConfig
from training.execution import Execution
from training.loop import run_loop, warmup_then_decay
from training.losses import refinement_loss
from training.model.vidtag import VidTag
from training.noise import disturb_positions
from training.parts import Side, loss_in_parts, parts_of
from training.phases.phase_one import branch_features, check_division, part_seeds


def train_phase_two(
    model: VidTag, recipe: PhaseConfig, noise: NoiseConfig, store: ClipSource, folder: Path, seed: int,
    execution: Execution | None = None,
) -> None:  # fmt: skip
    """Train GeoRefiner from noisy true positions, in place."""
    execution = execution or Execution()
    recipe = recipe.over(len(store))
    check_division(recipe, execution)
    model.eval()
    for module in model.children():
        if module is not model.dual_encoder:
            module.to(execution.device)
    optimizer = torch.optim.Adam(model.georefiner.parameters(), lr=recipe.learning_rate)
    own = execution.ranks.share(recipe.batch_clips)

    def step(number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((seed, 4, number))
        batch = store.batch(choose_clips(recipe, len(store), rng, seed, number), rng, own)
        truth = batch.latlon_deg
        noisy = disturb_positions(
            truth, rng, noise.collapse_share, noise.jitter_deg, noise.shift_deg, noise.outlier_share
        )
        with torch.no_grad(), execution.autocast(recipe.precision):
            features = branch_features(batch.features, slice(None)).to(execution.device)
            refined_features = _attend(model, features, recipe)
            wanted = _embed_clips(model, truth, recipe, execution)
            queries = _embed_clips(model, noisy, recipe, execution)
        seeds = part_seeds(recipe, execution, len(features), seed, number)
        parts = parts_of(len(features), recipe.micro_clips)

        def embed(part: int) -> Tensor:
            if seeds:
                torch.manual_seed(seeds[part])
            with execution.autocast(recipe.precision):
                return model.georefiner(refined_features[parts[part]], queries[own][parts[part]]).float()

        refined: list[Tensor] = []

        def loss_of(embedding: Tensor) -> Tensor:
            refined.append(embedding.detach())
            return refinement_loss(embedding, wanted, recipe.alpha, recipe.beta)

        loss = loss_in_parts([Side(embed, len(parts), len(truth))], loss_of, execution.ranks)
        before, after = ((emb * wanted).sum(-1).mean() for emb in (queries, refined[0]))
        return {"loss": loss, "cosine_before": before, "cosine_after": after}

    model.georefiner.train()
    run_loop(
        "phase_two", folder, model.georefiner, optimizer, step, recipe.steps,
        warmup_then_decay(recipe.warmup_steps, recipe.steps_per_epoch, recipe.decay_per_epoch), seed=seed,
        save_every=recipe.save_every, ema_decay=recipe.ema_decay, execution=execution,
    )  # fmt: skip
    model.georefiner.eval()


def _attend(model: VidTag, features: Tensor, recipe: PhaseConfig) -> Tensor:
    """Return ``z*`` (b, T, D) float32 of this rank's clips."""
    parts = parts_of(len(features), recipe.micro_clips)
    return torch.cat([model.embed_frames(features[part])[0] for part in parts]).float()


def _embed_clips(model: VidTag, latlon_deg: np.ndarray, recipe: PhaseConfig, execution: Execution) -> Tensor:
    """Return location embeddings (B, T, E) float32 of positions (B, T, 2)."""
    clips, frames, _ = latlon_deg.shape
    places = torch.from_numpy(latlon_deg.reshape(-1, 2)).to(execution.device)
    parts = parts_of(len(places), recipe.micro_clips * frames)
    return torch.cat([model.location_encoder(places[part]) for part in parts]).float().reshape(clips, frames, -1)
