"""Phase I (docs/method.md 2.8, 2.9): TempGeo, frame MLP and location encoder learn to retrieve each frame's place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from training.config import PhaseConfig
from training.features.clips import ClipSource, branch_features, choose_clips
from training.model.vidtag import VidTag
from training.phases.distributed import restore_batch_norms_, share_batch_norms_
from training.phases.execution import Execution
from training.phases.loop import run_loop, warmup_then_decay
from training.phases.losses import frame_to_location_loss, symmetric_loss
from training.phases.parts import Side, loss_in_parts, part_seed, parts_of
from vidtag_cli.errors import UsageError


def train_phase_one(
    model: VidTag, recipe: PhaseConfig, store: ClipSource, folder: Path, seed: int,
    branch: slice = slice(None), name: str = "phase_one", execution: Execution | None = None,
) -> None:  # fmt: skip
    """Train everything but the backbones and GeoRefiner, in place.

    ``branch`` picks the columns of one backbone: the ablations with one branch only.
    """
    execution = execution or Execution()
    recipe = recipe.over(len(store))
    check_division(recipe, execution)
    queue = RecentPlaces(recipe.queue_points)
    modules = _trained(model, queue).to(execution.device)
    share_batch_norms_(modules, execution.ranks)
    optimizer = torch.optim.Adam(modules.parameters(), lr=recipe.learning_rate)
    own = execution.ranks.share(recipe.batch_clips)

    def step(number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((seed, 3, number))
        batch = store.batch(choose_clips(recipe, len(store), rng, seed, number), rng, own)
        features = branch_features(batch.features, branch).to(execution.device)
        latlon = torch.from_numpy(batch.latlon_deg).flatten(0, 1).to(execution.device)  # (B*T, 2)
        frames = _FrameSide(model, features, recipe, execution, seed, number)
        places = torch.cat([latlon, queue.filled()])

        def loss_of(embedding: Tensor, locations: Tensor) -> Tensor:
            kind = symmetric_loss if recipe.symmetric else frame_to_location_loss
            return kind(embedding, locations[: len(latlon)], model.logit_scale(), locations[len(latlon) :])

        sides = (frames.side(len(latlon)), _place_side(model, places, recipe, execution, features.shape[1]))
        loss = loss_in_parts(sides, loss_of, execution.ranks, [model.log_logit_scale])
        frames.finish()
        queue.push(latlon)
        return {"loss": loss, "scale": model.logit_scale()}

    modules.train()
    run_loop(
        name, folder, modules, optimizer, step, recipe.steps,
        warmup_then_decay(recipe.warmup_steps, recipe.steps_per_epoch, recipe.decay_per_epoch), seed=seed,
        save_every=recipe.save_every, ema_decay=recipe.ema_decay, execution=execution,
    )  # fmt: skip
    modules.eval()
    for part in (model, modules):
        restore_batch_norms_(part)


def check_division(recipe: PhaseConfig, execution: Execution) -> None:
    """Raise UsageError unless a batch divides into equal shares of the ranks and these into whole parts."""
    ranks, micro = execution.ranks.count, recipe.micro_clips
    if recipe.batch_clips % (ranks * max(micro, 1)):
        raise UsageError(
            f"a batch of {recipe.batch_clips} clips does not divide into {ranks} ranks with parts of {micro or 'any'} "
            "clips: choose batch_clips as a multiple of ranks times micro_clips"
        )


def part_seeds(recipe: PhaseConfig, execution: Execution, clips: int, seed: int, number: int) -> list[int]:
    """Return the seed of each part of this rank's ``clips``; none where a single pass over the batch needs none."""
    if not recipe.micro_clips and execution.ranks.count == 1:
        return []
    count = len(parts_of(clips, recipe.micro_clips))
    return [part_seed(seed, number, execution.ranks.rank * count + part) for part in range(count)]


def _trained(model: VidTag, queue: RecentPlaces) -> nn.ModuleList:
    parts = [model.frame_mlp, model.location_encoder] + ([model.tempgeo] if model.tempgeo is not None else [])
    modules = nn.ModuleList(parts)
    modules.register_parameter("log_logit_scale", model.log_logit_scale)
    modules.append(queue)
    return modules


class _FrameSide:
    """The frames of a step, in parts after TempGeo's stem; the stem's batch norm needs all of them at once."""

    def __init__(
        self, model: VidTag, features: Tensor, recipe: PhaseConfig, execution: Execution, seed: int, number: int
    ) -> None:
        self._model, self._recipe, self._execution = model, recipe, execution
        self._seeds = part_seeds(recipe, execution, len(features), seed, number)
        self._parts = parts_of(len(features), recipe.micro_clips)
        self._stem = self._leaf = features
        if self._seeds and model.tempgeo is not None:
            with execution.autocast(recipe.precision):
                self._stem = model.tempgeo.stem(features, self._seeds)
            self._leaf = self._stem.detach().requires_grad_()

    def side(self, total: int) -> Side:
        return Side(self._embed, len(self._parts), total)

    def finish(self) -> None:
        """Send what the parts left at the stem's output on into the stem."""
        if self._leaf.grad is not None:
            self._stem.backward(self._leaf.grad)

    def _embed(self, part: int) -> Tensor:
        with self._execution.autocast(self._recipe.precision):
            if not self._seeds:
                _, embedding = self._model.embed_frames(self._leaf)
            else:
                torch.manual_seed(self._seeds[part])
                hidden = self._leaf[self._parts[part]]
                attended = hidden if self._model.tempgeo is None else self._model.tempgeo.attend(hidden)
                embedding = self._model.frame_mlp(attended)
        return embedding.flatten(0, 1).float()


def _place_side(model: VidTag, places: Tensor, recipe: PhaseConfig, execution: Execution, frames: int) -> Side:
    """Return the places (N, 2) as a side: this rank's share of them, in parts as large as those of the frames."""
    own = places[execution.ranks.share(len(places))]
    parts = parts_of(len(own), recipe.micro_clips * frames)

    def embed(part: int) -> Tensor:
        with execution.autocast(recipe.precision):
            return model.location_encoder(own[parts[part]]).float()

    return Side(embed, len(parts), len(places))


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
