"""The location encoder (docs/method.md 2.5): random Fourier features of a point of the globe, one branch a scale,
summed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidtag_cli.geo.sphere import unit_vector

# Savric, Patterson & Jenny (2018), The Equal Earth map projection.
EQUAL_EARTH_A1, EQUAL_EARTH_A2, EQUAL_EARTH_A3, EQUAL_EARTH_A4 = 1.340264, -0.081106, 0.000893, 0.003796
EQUAL_EARTH_SCALE = 66.50336 / 180.0
"""GeoCLIP's scale: x spans about [-1, 1]."""


def equal_earth(latlon_deg: Tensor) -> Tensor:
    """Return GeoCLIP's Equal Earth coordinates (N, 2) of latitude, longitude in degrees; it does not wrap at 180."""
    latlon = torch.deg2rad(latlon_deg)
    theta = torch.asin(math.sqrt(3.0) / 2.0 * torch.sin(latlon[:, 0]))
    square = theta * theta
    sixth = square * square * square
    derivative = (
        9.0 * EQUAL_EARTH_A4 * sixth * square + 7.0 * EQUAL_EARTH_A3 * sixth + 3.0 * EQUAL_EARTH_A2 * square
    ) + EQUAL_EARTH_A1
    x = 2.0 * math.sqrt(3.0) * latlon[:, 1] * torch.cos(theta) / (3.0 * derivative)
    y = theta * (EQUAL_EARTH_A1 + square * EQUAL_EARTH_A2 + sixth * (EQUAL_EARTH_A3 + square * EQUAL_EARTH_A4))
    return torch.stack([x, y], dim=1) * EQUAL_EARTH_SCALE


PROJECTIONS = {"equal_earth": (equal_earth, 2), "sphere": (unit_vector, 3)}
"""Kind of encoder -> (projection of (N, 2) degrees, number of its coordinates)."""


class FourierBranch(nn.Module):
    """One scale: sine and cosine of ``frequencies`` random directions of deviation ``sigma``, then four linear
    layers.
    """

    frequency: Tensor

    def __init__(self, coordinates: int, sigma: float, frequencies: int, hidden: int, embed_dim: int) -> None:
        super().__init__()
        self.register_buffer("frequency", torch.randn(frequencies, coordinates) * sigma)
        self.layers = nn.Sequential(
            nn.Linear(2 * frequencies, hidden), nn.ReLU(),
            nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, hidden), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(hidden, embed_dim)

    def forward(self, coordinates: Tensor) -> Tensor:
        # Phases are as exact as the position was given: in float32 two engines differ by a metre on the ground.
        angle = 2.0 * math.pi * coordinates @ self.frequency.to(coordinates.dtype).T  # (N, frequencies)
        features = torch.cat([torch.cos(angle), torch.sin(angle)], dim=-1).to(self.frequency.dtype)
        return self.head(self.layers(features))


class LocationEncoder(nn.Module):
    """Location embeddings (N, E), L2-normalised, of latitude, longitude in degrees (N, 2) float64 or float32."""

    def __init__(
        self,
        *,
        kind: Literal["equal_earth", "sphere"],
        sigmas: Sequence[float],
        frequencies: int = 256,
        hidden: int = 1024,
        embed_dim: int = 512,
    ) -> None:
        super().__init__()
        self.kind: Literal["equal_earth", "sphere"] = kind
        self.project, coordinates = PROJECTIONS[kind]
        self.branches = nn.ModuleList(
            FourierBranch(coordinates, sigma, frequencies, hidden, embed_dim) for sigma in sigmas
        )

    def sum_of_branches(self, latlon_deg: Tensor) -> Tensor:
        """Return the embeddings (N, E) before normalisation: what GeoCLIP's own class returns."""
        coordinates = self.project(latlon_deg)
        return torch.stack([branch(coordinates) for branch in self.branches]).sum(0)

    def forward(self, latlon_deg: Tensor) -> Tensor:
        return functional.normalize(self.sum_of_branches(latlon_deg), dim=-1)


def geoclip_state(published: dict[str, Tensor], keep_frequencies: Sequence[bool]) -> dict[str, Tensor]:
    """Return GeoCLIP's published location encoder weights under the names of :class:`LocationEncoder`.

    ``keep_frequencies`` says for each branch whether the published frequency matrix is taken; a branch whose sigma
    differs (2^3 here against GeoCLIP's 2^4) keeps its own draw, so load the result with ``strict=False`` then.
    """
    state: dict[str, Tensor] = {}
    for name, value in published.items():
        branch, part, *rest = name.split(".")
        index = int(branch.removeprefix("LocEnc"))
        if part == "head":
            state[f"branches.{index}.head.{rest[-1]}"] = value
        elif rest[0] == "0":
            if keep_frequencies[index]:
                state[f"branches.{index}.frequency"] = value
        else:
            state[f"branches.{index}.layers.{int(rest[0]) - 1}.{rest[1]}"] = value
    return state
