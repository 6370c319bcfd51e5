"""A start for a location encoder that has no published weights: neighbours alike, strangers not.

A location encoder that starts from random weights is known to fail (SPEC 2.5), and GeoCLIP's weights fit
``equal_earth`` at full width only. So before any picture is seen, the encoder learns that the cosine of two places
falls with their distance.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.loop import run_loop, warmup_then_linear
from training.model.location_encoder import LocationEncoder
from vidtag_cli.geo.sphere import EARTH_RADIUS_KM, destination_latlon, latlon_from_unit_vector, unit_vector

_KERNEL_SCALES_KM = (60.0, 400.0, 2500.0)
_KERNEL_WEIGHTS = (0.5, 0.3, 0.2)
_CLUSTERS, _PER_CLUSTER = 64, 16
_NEIGHBOUR_KM = (5.0, 5000.0)


def target_cosine(latlon_deg: Tensor) -> Tensor:
    """Return the wanted cosines (N, N) of places (N, 2): a sum of Gaussians of the chord, sharp and wide."""
    vectors = unit_vector(latlon_deg)
    chord2_km2 = (2.0 - 2.0 * vectors @ vectors.T).clamp(min=0.0) * EARTH_RADIUS_KM**2
    scales = zip(_KERNEL_SCALES_KM, _KERNEL_WEIGHTS, strict=True)
    return sum(weight * torch.exp(-chord2_km2 / (2.0 * scale**2)) for scale, weight in scales)


def draw_clusters(rng: np.random.Generator) -> np.ndarray:
    """Return places (1024, 2) on the whole sphere in clusters whose inner distances span all scales."""
    centres = latlon_from_unit_vector(rng.normal(size=(_CLUSTERS, 3)))
    low, high = np.log(_NEIGHBOUR_KM)
    distance_km = np.exp(rng.uniform(low, high, (_CLUSTERS, _PER_CLUSTER)))
    bearing_deg = rng.uniform(0.0, 360.0, (_CLUSTERS, _PER_CLUSTER))
    return destination_latlon(centres[:, None, :], bearing_deg, distance_km).reshape(-1, 2)


def pretrain_locations(encoder: LocationEncoder, steps: int, folder: Path, seed: int) -> None:
    """Fit the encoder's cosines to :func:`target_cosine`, in place."""
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3)

    def step(number: int) -> dict[str, Tensor]:
        latlon = torch.from_numpy(draw_clusters(np.random.default_rng((seed, 1, number))))
        embedding = encoder(latlon)
        return {"loss": ((embedding @ embedding.T - target_cosine(latlon).float()) ** 2).mean() * 100.0}

    run_loop("locations", folder, encoder, optimizer, step, steps, warmup_then_linear(50, steps), seed=seed)
