"""Retrieval inside training: embed a gallery once, find the best place of every frame (docs/method.md 2.6, 2.10)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from training.model.vidtag import VidTag
from vidtag_cli.gallery.build import near_antimeridian, other_longitude

_ROWS = 16_384


@torch.no_grad()
def embed_gallery(model: VidTag, latlon_deg: np.ndarray) -> Tensor:
    """Return the embeddings (G, E) float32 of places (G, 2)."""
    places = torch.from_numpy(latlon_deg).to(model.log_logit_scale.device)
    return torch.cat([model.location_encoder(places[begin : begin + _ROWS]) for begin in range(0, len(places), _ROWS)])


@torch.no_grad()
def best_places(embedding: Tensor, gallery: Tensor) -> Tensor:
    """Return the index (N,) of the gallery row with the largest cosine for embeddings (N, E)."""
    return torch.cat([(part @ gallery.T).argmax(1) for part in embedding.split(256)])


def both_longitudes(latlon_deg: np.ndarray) -> np.ndarray:
    """Return places (G, 2), and after them those near the antimeridian again, their longitudes a turn away."""
    return np.concatenate([latlon_deg, other_longitude(latlon_deg[near_antimeridian(latlon_deg)])])
