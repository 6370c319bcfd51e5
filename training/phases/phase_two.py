"""Phase II (docs/method.md 2.8, 2.9): GeoRefiner learns to undo the mistakes of Phase I; everything else is frozen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.config import NoiseConfig, PhaseConfig
from training.features.clips import ClipSource, branch_features, choose_clips
from training.model.vidtag import VidTag
from training.phases.distributed import gather_rows
from training.phases.execution import Execution
from training.phases.loop import run_loop, warmup_then_decay
from training.phases.losses import refinement_loss
from training.phases.parts import Side, loss_in_parts, parts_of
from training.phases.phase_one import check_division, part_seeds
from vidtag_cli.geo.sphere import wrap_longitude_deg

_SEARCHED_PLACES = 40_000
"""True places of training frames among which Phase I makes its own mistakes."""


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
    mistakes = OwnMistakes(model, store, noise, recipe, execution, seed) if noise.own_share else None

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
            target = _embed_clips(model, truth, recipe, execution)
            if mistakes is not None:
                noisy = mistakes.put_among(noisy, batch.features, own, rng)
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
            return refinement_loss(embedding, target, recipe.alpha, recipe.beta)

        loss = loss_in_parts([Side(embed, len(parts), len(truth))], loss_of, execution.ranks)
        before, after = ((emb * target).sum(-1).mean() for emb in (queries, refined[0]))
        return {"loss": loss, "cosine_before": before, "cosine_after": after}

    model.georefiner.train()
    run_loop(
        "phase_two", folder, model.georefiner, optimizer, step, recipe.steps,
        warmup_then_decay(recipe.warmup_steps, recipe.steps_per_epoch, recipe.decay_per_epoch), seed=seed,
        save_every=recipe.save_every, ema_decay=recipe.ema_decay, execution=execution,
    )  # fmt: skip
    model.georefiner.eval()


class OwnMistakes:
    """The places that Phase I itself finds for training clips: what GeoRefiner will be given, look-alikes included."""

    def __init__(
        self, model: VidTag, store: ClipSource, noise: NoiseConfig, recipe: PhaseConfig, execution: Execution, seed: int
    ) -> None:
        rng = np.random.default_rng((seed, 7))
        numbers = np.sort(rng.choice(len(store), min(len(store), _SEARCHED_PLACES), replace=False))
        latlon = store.batch(numbers, rng, slice(0)).latlon_deg
        self._places_deg = latlon[np.arange(len(latlon)), rng.integers(0, latlon.shape[1], len(latlon))]  # (G, 2)
        self._model, self._noise, self._recipe, self._execution = model, noise, recipe, execution
        with torch.no_grad(), execution.autocast(recipe.precision):
            self._gallery = _embed_clips(model, self._places_deg[:, None], recipe, execution)[:, 0]  # (G, E)

    def put_among(
        self, noisy_deg: np.ndarray, features: np.ndarray, own: slice, rng: np.random.Generator
    ) -> np.ndarray:
        """Return noisy positions (B, T, 2) of all ranks' clips, some replaced by what Phase I finds: each rank sees to
        its ``own``, whose ``features`` it has. These jitter too, for a gallery has other places.
        """
        noisy = torch.from_numpy(self._replace(noisy_deg, features, own, rng)[own]).to(self._execution.device)
        return gather_rows(noisy, self._execution.ranks, len(noisy_deg)).cpu().numpy()

    def _replace(self, noisy_deg: np.ndarray, features: np.ndarray, own: slice, rng: np.random.Generator) -> np.ndarray:
        is_chosen = (rng.random(len(noisy_deg)) < self._noise.own_share)[own]
        sign = rng.choice((-1.0, 1.0), noisy_deg.shape)
        jitter_deg = sign * rng.uniform(*self._noise.jitter_deg, noisy_deg.shape)
        replaced = np.arange(len(noisy_deg))[own][is_chosen]
        if not replaced.size:
            return noisy_deg
        seen = branch_features(features[is_chosen], slice(None)).to(self._execution.device)
        parts = parts_of(len(seen), self._recipe.micro_clips)
        embedding = torch.cat([self._model.embed_frames(seen[part])[1] for part in parts])  # (b, T, E)
        best = (embedding.flatten(0, 1) @ self._gallery.to(embedding.dtype).T).argmax(1).cpu().numpy()
        noisy = noisy_deg.copy()
        noisy[replaced] = put_on_sphere(self._places_deg[best].reshape(*embedding.shape[:2], 2) + jitter_deg[replaced])
        return noisy


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


def put_on_sphere(latlon_deg: np.ndarray) -> np.ndarray:
    """Return positions (..., 2) whose latitude may have left [-90, 90] carried over the pole, longitude in [-180,
    180).
    """
    lat = wrap_longitude_deg(latlon_deg[..., 0])
    beyond = np.abs(lat) > 90.0
    over_pole = np.where(lat > 0.0, 180.0 - lat, -180.0 - lat)
    lon = np.where(beyond, latlon_deg[..., 1] + 180.0, latlon_deg[..., 1])
    return np.stack([np.where(beyond, over_pole, lat), wrap_longitude_deg(lon)], axis=-1)


def disturb_positions(
    latlon_deg: np.ndarray,
    rng: np.random.Generator,
    collapse_share: float = 0.1,
    jitter_deg: tuple[float, float] = (0.001, 0.02),
    shift_deg: tuple[float, float] = (-0.2, 0.2),
    outlier_share: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """Return noisy positions (B, T, 2) in degrees of true ones.

    A share of the clips collapses to one of its own points; the frames of the others jitter, each coordinate by an
    amount from ``jitter_deg`` with a sign of its own. Then every clip is shifted as a whole, per coordinate. Beyond the
    paper, a share of each clip's frames, drawn from ``outlier_share``, may be somewhere else altogether: at the true
    place of another frame of the batch.
    """
    clips, frames, _ = latlon_deg.shape
    frame = rng.integers(0, frames, clips)
    collapsed = np.broadcast_to(latlon_deg[np.arange(clips), frame][:, None], latlon_deg.shape)
    sign = rng.choice((-1.0, 1.0), latlon_deg.shape)
    jittered = latlon_deg + sign * rng.uniform(*jitter_deg, latlon_deg.shape)
    collapses = np.asarray(rng.random(clips) < collapse_share)
    moved = np.where(collapses[:, None, None], collapsed, jittered)
    noisy = put_on_sphere(moved + rng.uniform(*shift_deg, (clips, 1, 2)))
    if outlier_share[1] == 0.0:
        return noisy
    elsewhere = rng.permutation(latlon_deg.reshape(-1, 2)).reshape(latlon_deg.shape)
    is_outlier = rng.random((clips, frames)) < rng.uniform(*outlier_share, (clips, 1))
    return np.where(is_outlier[..., None], elsewhere, noisy)
