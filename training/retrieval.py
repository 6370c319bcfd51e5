"""Retrieval inside training: embed a gallery once, find the best place of every frame (SPEC 2.6, 2.10)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from training.features import FeatureStore
from training.model.vidtag import VidTag
from training.phases.phase_one import branch_features

_ROWS = 16_384
_CLIPS = 16


@torch.no_grad()
def embed_gallery(model: VidTag, latlon_deg: np.ndarray) -> Tensor:
    """Return the embeddings (G, E) float32 of places (G, 2)."""
    places = torch.from_numpy(latlon_deg).to(model.log_logit_scale.device)
    return torch.cat([model.location_encoder(places[begin : begin + _ROWS]) for begin in range(0, len(places), _ROWS)])


@torch.no_grad()
def best_places(embedding: Tensor, gallery: Tensor) -> Tensor:
    """Return the index (N,) of the gallery row with the largest cosine for embeddings (N, E)."""
    return torch.cat([(part @ gallery.T).argmax(1) for part in embedding.split(256)])


@torch.no_grad()
def predict_clips(
    model: VidTag, store: FeatureStore, gallery_latlon_deg: np.ndarray, *, branch: slice = slice(None), refine: bool
) -> np.ndarray:
    """Return predicted positions (B, T, 2) in degrees: of Phase I, or after GeoRefiner with ``refine``."""
    model.eval()
    gallery = embed_gallery(model, gallery_latlon_deg)
    predicted = []
    for begin in range(0, len(store), _CLIPS):
        features = branch_features(store.features[begin : begin + _CLIPS], branch).to(gallery.device)
        attended, embedding = model.embed_frames(features)  # (b, T, D), (b, T, E)
        best = best_places(embedding.flatten(0, 1), gallery)
        if refine:
            queries = gallery[best].reshape(embedding.shape)
            best = best_places(model.georefiner(attended, queries).flatten(0, 1), gallery)
        predicted.append(gallery_latlon_deg[best.cpu().numpy()].reshape(*features.shape[:2], 2))
    return np.concatenate(predicted)
