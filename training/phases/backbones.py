"""Pre-training of small backbones on single frames (flyover only: nothing published exists at that size).

Each branch learns to retrieve the place of a frame through a linear head of its own, against the true places of the
batch, other places of the coverage and near neighbours. The heads are thrown away; Phase I starts from the frozen
backbones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.config import FlightConfig, TrainingConfig
from training.flyover.flights import draw_flights
from training.flyover.scene import render_clips
from training.loop import run_loop, warmup_then_linear
from training.losses import frame_to_location_loss
from training.model.vidtag import INITIAL_LOG_SCALE, MAX_LOGIT_SCALE, VidTag
from vidtag_cli.geo.sphere import destination_latlon

_NEIGHBOUR_KM = (20.0, 500.0)
_SCALE_START = INITIAL_LOG_SCALE


class BranchHeads(nn.Module):
    """A linear head and a logit scale for each backbone, used in pre-training only."""

    def __init__(self, clip_dim: int, dino_dim: int, embed_dim: int) -> None:
        super().__init__()
        self.clip = nn.Linear(clip_dim, embed_dim)
        self.dino = nn.Linear(dino_dim, embed_dim)
        self.log_scales = nn.Parameter(torch.full((2,), _SCALE_START))


def pretrain_backbones(model: VidTag, config: TrainingConfig, textures: Tensor, folder: Path) -> None:
    """Train both backbones and the location encoder of ``model``, in place; Phase I starts from their logit scale."""
    recipe, flights = config.backbones, config.flight_recipe()
    if recipe is None:
        raise ValueError(f"preset {config.name} has no [backbones]: its backbones come pre-trained")
    device = textures.device
    heads = BranchHeads(config.model.clip.embed_dim, config.model.dino.embed_dim, config.model.embed_dim)
    modules = nn.ModuleDict({"encoder": model.dual_encoder, "locations": model.location_encoder, "heads": heads})
    modules.to(device)
    model.dual_encoder.to(memory_format=torch.channels_last)  # convolutions on a CPU run a third faster so
    optimizer = torch.optim.AdamW(modules.parameters(), lr=recipe.learning_rate, weight_decay=0.02)

    def step(number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((config.seed, 2, number))
        drawn = draw_flights(flights, recipe.batch_frames, rng, frames=1)
        frames = render_clips(textures, drawn, config.model.frame_size_px, rng)[:, 0]
        truth = drawn.latlon_deg[:, 0]
        negatives = _draw_negatives(truth, recipe.random_negatives, recipe.neighbours_per_frame, flights, rng)
        places = torch.from_numpy(np.concatenate([truth, negatives])).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            clip, dino = model.dual_encoder.branches(frames)
        locations = model.location_encoder(places)
        scales = heads.log_scales.exp().clamp(max=MAX_LOGIT_SCALE)
        losses = [
            frame_to_location_loss(functional.normalize(head(feature.float()), dim=-1), locations[: len(truth)], scale,
                                   locations[len(truth) :])
            for head, feature, scale in ((heads.clip, clip, scales[0]), (heads.dino, dino, scales[1]))
        ]  # fmt: skip
        return {"loss": losses[0] + losses[1], "clip": losses[0], "dino": losses[1], "scale": scales.mean()}

    model.dual_encoder.train()
    run_loop(
        "backbones", folder, modules, optimizer, step, recipe.steps,
        warmup_then_linear(recipe.warmup_steps, recipe.steps), seed=config.seed,
    )  # fmt: skip
    with torch.no_grad():
        model.log_logit_scale.copy_(heads.log_scales.mean())


def _draw_negatives(
    truth: np.ndarray, count: int, per_frame: int, flights: FlightConfig, rng: np.random.Generator
) -> np.ndarray:
    """Return places (M, 2) that are not the truth: over the whole coverage, and around every frame at all distances."""
    spread = draw_flights(flights, count, rng, frames=1).latlon_deg[:, 0]
    low, high = np.log(_NEIGHBOUR_KM)
    shape = (len(truth), per_frame)
    around = destination_latlon(
        truth[:, None, :], rng.uniform(0.0, 360.0, shape), np.exp(rng.uniform(low, high, shape))
    )
    return np.concatenate([spread, around.reshape(-1, 2)])
