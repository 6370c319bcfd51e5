"""The losses of both phases (docs/method.md 2.8)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def frame_to_location_loss(
    frame_embedding: Tensor,
    location_embedding: Tensor,
    logit_scale: Tensor,
    extra_location_embedding: Tensor | None = None,
) -> Tensor:
    """Return the Phase I loss (Eq. 1): cross-entropy of each frame (N, E) against its own location among all (N, E).

    ``extra_location_embedding`` (Q, E) are further negatives: recent true coordinates, never invented ones.
    """
    locations = location_embedding
    if extra_location_embedding is not None:
        locations = torch.cat([location_embedding, extra_location_embedding])
    logits = logit_scale * frame_embedding @ locations.T  # (N, N + Q)
    return functional.cross_entropy(logits, torch.arange(len(frame_embedding), device=logits.device))


def symmetric_loss(
    frame_embedding: Tensor,
    location_embedding: Tensor,
    logit_scale: Tensor,
    extra_location_embedding: Tensor | None = None,
) -> Tensor:
    """Return the mean of both directions of the Phase I loss: the option that CLIP uses.

    ``extra_location_embedding`` are further negatives of the frames; a location has none, for no frames belong to them.
    """
    forward = frame_to_location_loss(frame_embedding, location_embedding, logit_scale, extra_location_embedding)
    return (forward + frame_to_location_loss(location_embedding, frame_embedding, logit_scale)) / 2.0


def identity_loss(refined: Tensor, truth: Tensor, alpha: float = 10.0, beta: float = 1.0) -> Tensor:
    """Return the weighted loss of Eqs. 2-5 for embeddings (N, E): ``refined @ truth.T`` against the identity.

    ``M = (S - I)^2``; the loss is ``alpha (mean of the upper triangle + mean of the lower) + beta mean of the
    diagonal``. The printed ``G' G'^T`` has a diagonal of ones whatever the network does, so the truth stands on the
    right here.
    """
    count = len(refined)
    error = (refined @ truth.T - torch.eye(count, device=refined.device, dtype=refined.dtype)) ** 2
    diagonal = error.diagonal().mean()
    if count == 1:
        return beta * diagonal
    pairs = count * (count - 1) / 2.0
    upper, lower = error.triu(1).sum() / pairs, error.tril(-1).sum() / pairs
    return alpha * (upper + lower) + beta * diagonal


def refinement_loss(refined: Tensor, truth: Tensor, alpha: float = 10.0, beta: float = 1.0) -> Tensor:
    """Return the Phase II loss of clips (B, T, E): frames and videos, summed.

    A video's embedding is the normalised mean over its frames.
    """
    frames = identity_loss(refined.flatten(0, 1), truth.flatten(0, 1), alpha, beta)
    videos = identity_loss(
        functional.normalize(refined.mean(1), dim=-1), functional.normalize(truth.mean(1), dim=-1), alpha, beta
    )
    return frames + videos
