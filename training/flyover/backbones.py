"""Pre-training of small backbones on single frames (flyover only: nothing published exists at that size).

Two views of one place, under other headings, weather and imagery, must find each other among the views of all places of
a batch, near neighbours included. What is learned is to tell places apart, not where they are: the location encoder
takes that in afterwards (:mod:`training.flyover.locations`). So the backbones need few views of each place.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.config import BackboneTrainingConfig, FlightConfig, TrainingConfig
from training.flyover.camera import render_clips
from training.flyover.flights import Flights, draw_flights
from training.flyover.imagery import STYLES
from training.model.backbones import DinoClassToken
from training.model.dual_encoder import DualFrameEncoder
from training.model.vidtag import INITIAL_LOG_SCALE, MAX_LOGIT_SCALE, VidTag
from training.phases.loop import LearningRate, run_loop, warmup_then_linear
from vidtag_cli.errors import UsageError
from vidtag_cli.geo.sphere import EARTH_RADIUS_KM, destination_latlon, unit_vector

_NEIGHBOUR_KM = (40.0, 600.0)
_VIEW_OFFSET_KM = 15.0
"""Both views of a place lie at most this far apart: less than the model is expected to tell."""

_log = logging.getLogger("training")


class BranchHeads(nn.Module):
    """A linear head and a logit scale for each backbone, used before Phase I only."""

    def __init__(self, clip_dim: int, dino_dim: int, embed_dim: int) -> None:
        super().__init__()
        self.clip = nn.Linear(clip_dim, embed_dim, bias=False)
        self.dino = nn.Linear(dino_dim, embed_dim, bias=False)
        self.log_scales = nn.Parameter(torch.full((2,), INITIAL_LOG_SCALE))

    def scales(self) -> Tensor:
        """Return the factors on cosines (2,) of both branches, at most 100."""
        return self.log_scales.exp().clamp(max=MAX_LOGIT_SCALE)

    def embed(self, features: Tensor) -> Tensor:
        """Return the CLIP head's embedding (N, E), L2-normalised, of joined features (N, D).

        DINOv2 learned the same space from it and knows it less well. Without a bias the head does not mind how long
        the branch was before both were joined.
        """
        return functional.normalize(self.clip(features[..., : self.clip.in_features]), dim=-1)


def build_branch_heads(config: TrainingConfig) -> BranchHeads:
    """Return heads with random weights in the sizes of the configuration."""
    return BranchHeads(config.model.clip.embed_dim, config.model.dino.embed_dim, config.model.embed_dim)


def pretrain_backbones(
    model: VidTag, heads: BranchHeads, config: TrainingConfig, textures: Tensor, folder: Path
) -> None:
    """Train both backbones of ``model`` and their ``heads``, in place; Phase I starts from their logit scale.

    DINOv2 learns to find the other view as the CLIP branch describes it, which teaches a transformer faster than its
    own first guesses would.
    """
    recipe, flights = config.backbones, config.flight_recipe()
    if recipe is None:
        raise UsageError(f"preset {config.name} has no [backbones]: its backbones come pre-trained")
    device = textures.device
    modules = nn.ModuleDict({"encoder": model.dual_encoder, "heads": heads}).to(device)
    model.dual_encoder.to(memory_format=torch.channels_last)  # convolutions on a CPU run a third faster so
    optimizer = torch.optim.AdamW(modules.parameters(), lr=recipe.learning_rate, weight_decay=0.02)

    def step(number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((config.seed, 2, number))
        first, second = draw_views(flights, recipe, rng)
        views = [render_clips(textures, view, config.model.frame_size_px, rng)[:, 0] for view in (first, second)]
        shares = target_shares(first.latlon_deg[:, 0], second.latlon_deg[:, 0], recipe.target_km).to(device)
        seen = round(len(first) * recipe.dino_share)
        with torch.autocast(device.type, torch.bfloat16):
            images = model.dual_encoder.images(torch.cat(views))
            clip = heads.clip(model.dual_encoder.clip_branch(images))
            dino = heads.dino(model.dual_encoder.dino_branch(images[:seen]))
        here, there = functional.normalize(clip.float(), dim=-1).chunk(2)
        scales = heads.scales()
        clip_loss = (
            retrieval_loss(here, there, shares, scales[0]) + retrieval_loss(there, here, shares.T, scales[0])
        ) / 2
        described = functional.normalize(dino.float(), dim=-1)
        dino_loss = retrieval_loss(described, there.detach(), shares[:seen], scales[1])
        return {"loss": clip_loss + dino_loss, "clip": clip_loss, "dino": dino_loss, "scale": scales.mean()}

    model.dual_encoder.train()
    run_loop(
        "backbones", folder, modules, optimizer, step, recipe.steps + recipe.more_steps, learning_rate(recipe),
        seed=config.seed,
    )  # fmt: skip
    model.dual_encoder.eval()
    with torch.no_grad():
        model.log_logit_scale.copy_(heads.log_scales.mean())


def learning_rate(recipe: BackboneTrainingConfig) -> LearningRate:
    """Return the schedule: a plateau and a fall over ``steps``, then a straight fall over ``more_steps``."""
    first = warmup_then_linear(recipe.warmup_steps, recipe.steps)
    again = warmup_then_linear(recipe.warmup_steps, max(1, recipe.more_steps), hold=0.0)
    return lambda step: first(step) if step < recipe.steps else again(step - recipe.steps)


def draw_views(
    flights: FlightConfig, recipe: BackboneTrainingConfig, rng: np.random.Generator
) -> tuple[Flights, Flights]:
    """Return two views of the same places, flights of one frame, mixed so that the first few are a fair sample."""
    centres = draw_flights(flights, recipe.groups, rng, frames=1, island_share=flights.island_share).latlon_deg
    shape = (recipe.groups, recipe.neighbours)
    low, high = np.log(_NEIGHBOUR_KM)
    around = destination_latlon(centres, rng.uniform(0.0, 360.0, shape), np.exp(rng.uniform(low, high, shape)))
    places = rng.permutation(np.concatenate([centres, around], axis=1).reshape(-1, 2))
    count = len(places)
    moved = destination_latlon(places, rng.uniform(0.0, 360.0, count), rng.uniform(0.0, _VIEW_OFFSET_KM, count))
    return _look(flights, places, rng), _look(flights, moved, rng)


def _look(flights: FlightConfig, latlon_deg: np.ndarray, rng: np.random.Generator) -> Flights:
    count = len(latlon_deg)
    return Flights(
        latlon_deg[:, None], rng.uniform(0.0, 360.0, (count, 1)), rng.uniform(*flights.footprint_km, count),
        rng.integers(0, len(STYLES), count),
    )  # fmt: skip


def target_shares(here_deg: np.ndarray, there_deg: np.ndarray, target_km: float) -> Tensor:
    """Return (N, M) float32, rows of sum 1: the share of each place ``there`` in what a view ``here`` should find.

    A Gaussian of the chord of deviation ``target_km``: views of almost the same ground share the target.
    """
    # In float32 the exponent is known to 0.003 at 40 km, and thousands of places at a time cost a third.
    cosine = unit_vector(torch.from_numpy(here_deg)).float() @ unit_vector(torch.from_numpy(there_deg)).float().T
    return functional.softmax((cosine - 1.0) * (EARTH_RADIUS_KM / target_km) ** 2, dim=-1)


def retrieval_loss(queries: Tensor, answers: Tensor, shares: Tensor, scale: Tensor) -> Tensor:
    """Return the mean divergence in nats of the softmax over ``answers`` (M, E) from ``shares`` (N, M), for unit
    vectors ``queries`` (N, E): zero when retrieval gives the target.
    """
    targets = shares / shares.sum(1, keepdim=True)
    return functional.kl_div(
        functional.log_softmax(scale * queries @ answers.T, dim=-1), targets, reduction="batchmean"
    )


@torch.no_grad()
def balance_branches_(encoder: DualFrameEncoder, frames_rgb: Tensor) -> float:
    """Scale the DINOv2 branch so that its outputs are about as long as CLIP's, in place, and return the factor.

    The branches are joined and normalised once (docs/method.md 2.2), so a branch with short outputs would drown: the
    first flyover lost its better branch so. The factor is a power of two, which leaves every rounding of the weights as
    it is. Published backbones are never touched.
    """
    encoder.eval()
    clip, dino = encoder.branches(frames_rgb)
    ratio = float(clip.norm(dim=-1).mean() / dino.norm(dim=-1).mean())
    factor = 2.0 ** round(math.log2(ratio))
    branch = encoder.dino
    if not isinstance(branch, DinoClassToken):
        raise TypeError(f"the second branch is {type(branch).__name__}, not a DINOv2 built here")
    branch.backbone.layernorm.weight.mul_(factor)
    branch.backbone.layernorm.bias.mul_(factor)
    _log.info("branches: CLIP is %.2f times as long as DINOv2; DINOv2 scaled by %g", ratio, factor)
    return factor
