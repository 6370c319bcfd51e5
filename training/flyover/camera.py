"""The camera: a pinhole that looks straight down on the sphere, and the frames that it films in flight."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.flyover.flights import Flights
from training.flyover.imagery import texture_grid
from training.flyover.weather import Weather
from vidtag_cli.geo.sphere import EARTH_RADIUS_KM, latlon_from_unit_vector, unit_vector

_HEADING_JITTER_DEG = 2.0

_FOOTPRINT_JITTER = 0.02


def ground_positions(latlon_deg: Tensor, heading_deg: Tensor, footprint_km: Tensor, size_px: int) -> Tensor:
    """Return the positions (N, P, P, 2) in degrees float32 that the pixels of N pictures look at.

    The picture's top is the heading. The ground is the plane that touches the sphere under the camera, so the view is
    right across the antimeridian and over a pole.
    """
    up = unit_vector(latlon_deg.double()).float()  # (N, 3)
    lat, lon = torch.deg2rad(latlon_deg).float().unbind(-1)
    east = torch.stack([-lon.sin(), lon.cos(), torch.zeros_like(lon)], -1)
    north = torch.stack([-lat.sin() * lon.cos(), -lat.sin() * lon.sin(), lat.cos()], -1)
    sine, cosine = torch.deg2rad(heading_deg).float()[:, None].sin(), torch.deg2rad(heading_deg).float()[:, None].cos()
    ahead, right = north * cosine + east * sine, east * cosine - north * sine
    offset = (torch.arange(size_px, device=up.device) + 0.5) / size_px - 0.5  # (P,) in footprints
    reach = (footprint_km.float() / EARTH_RADIUS_KM)[:, None, None]
    along = -offset[:, None, None] * ahead[:, None, None] * reach[..., None]  # (N, P, 1, 3), top row is ahead
    across = offset[None, :, None] * right[:, None, None] * reach[..., None]  # (N, 1, P, 3)
    return latlon_from_unit_vector(up[:, None, None] + along + across)


def photograph(
    textures: Tensor, style: Tensor, latlon_deg: Tensor, heading_deg: Tensor, footprint_km: Tensor, size_px: int
) -> Tensor:
    """Return clear-sky pictures (N, 3, S, S) float32 in [0, 255]; the arguments have one entry a picture."""
    pictures = torch.empty(len(latlon_deg), 3, size_px, size_px, device=textures.device)
    for index in range(len(textures)):
        of_style = (style == index).nonzero().squeeze(1)
        if len(of_style) == 0:
            continue
        ground = ground_positions(latlon_deg[of_style], heading_deg[of_style], footprint_km[of_style], size_px)
        grid = texture_grid(ground, textures[index]).flatten(0, 1)[None]  # (1, n*P, P, 2)
        sampled = functional.grid_sample(
            textures[index][None], grid, mode="bilinear", padding_mode="border", align_corners=False
        )  # (1, 3, n*P, P)
        pictures[of_style] = sampled[0].reshape(3, len(of_style), size_px, size_px).transpose(0, 1)
    return pictures


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
