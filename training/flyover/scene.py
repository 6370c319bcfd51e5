"""Clips of flights: frames as a decoder would deliver them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from training.flyover.camera import photograph
from training.flyover.flights import Flights
from training.flyover.weather import Weather

_HEADING_JITTER_DEG = 2.0
_FOOTPRINT_JITTER = 0.02


def render_clips(
    textures: Tensor, flights: Flights, size_px: int, rng: np.random.Generator, jitter: bool = True
) -> Tensor:
    """Return frames (B, T, S, S, 3) uint8 RGB of the flights, on the textures' device.

    ``rng`` draws the weather and, with ``jitter``, the camera's shaking from frame to frame; the flights' positions
    stay the truth.
    """
    clips, frames = flights.heading_deg.shape
    shake = 1.0 if jitter else 0.0
    heading = flights.heading_deg + shake * rng.normal(0.0, _HEADING_JITTER_DEG, (clips, frames))
    footprint = flights.footprint_km[:, None] * (1.0 + shake * rng.normal(0.0, _FOOTPRINT_JITTER, (clips, frames)))
    device = textures.device
    pictures = photograph(
        textures,
        torch.from_numpy(np.repeat(flights.style, frames)).to(device),
        torch.from_numpy(flights.latlon_deg.reshape(-1, 2)).to(device),
        torch.from_numpy(heading.ravel()).to(device),
        torch.from_numpy(footprint.ravel()).to(device),
        size_px,
    )
    drawn = Weather(clips, frames, torch.Generator().manual_seed(int(rng.integers(2**31))), device)
    pictures = drawn.apply(pictures)
    return pictures.permute(0, 2, 3, 1).reshape(clips, frames, size_px, size_px, 3)
