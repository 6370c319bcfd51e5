"""TempGeo (docs/method.md 2.3): full self-attention over the frames of a clip."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

POSITION_SPAN = 31.0
"""Frame i of S sits at ``linspace(0, 31, S)[i]``: any length uses the range of positions seen in training."""


def sinusoidal_positions(count: int, width: int, device: torch.device | None = None) -> Tensor:
    """Return position codes (count, width) float32 over the fixed span, sine and cosine interleaved."""
    # Spelled out instead of torch.linspace, so that a traced graph keeps the number of frames dynamic.
    index = torch.arange(count, device=device, dtype=torch.float32)
    steps = torch.arange(count, device=device, dtype=torch.float32)[-1:].clamp(min=1.0)
    position = (index * (POSITION_SPAN / steps)).unsqueeze(1)  # (count, 1)
    frequency = torch.exp(torch.arange(0, width, 2, device=device, dtype=torch.float32) * (-math.log(10_000.0) / width))
    angle = position * frequency  # (count, width / 2)
    return torch.stack([torch.sin(angle), torch.cos(angle)], dim=-1).flatten(1)


class FrameStem(nn.Module):
    """The bottleneck before attention: D -> hidden -> hidden -> D, on frames of any leading shape."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.narrow = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
            nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
        )  # fmt: skip
        self.widen = nn.Linear(hidden, width)

    def forward(self, features: Tensor, part_seeds: Sequence[int] = ()) -> Tensor:
        """Return the widened features of the same shape.

        With ``part_seeds`` the frames are as many equal parts, and each draws its dropout from a seed of its own. Batch
        norm still counts all frames: this is the one place where clips of a batch meet, so it is never done in parts.
        """
        flat = features.reshape(-1, features.shape[-1])  # (B*T, D): batch norm counts frames, not clips
        if not part_seeds:
            return self.widen(self.narrow(flat)).reshape(features.shape)
        for depth, layer in enumerate(self.narrow):
            flat = _drop_in_parts(layer, flat, part_seeds, depth) if isinstance(layer, nn.Dropout) else layer(flat)
        return self.widen(flat).reshape(features.shape)


def _drop_in_parts(dropout: nn.Dropout, rows: Tensor, part_seeds: Sequence[int], depth: int) -> Tensor:
    dropped = []
    for seed, part in zip(part_seeds, rows.chunk(len(part_seeds)), strict=True):
        torch.manual_seed(seed + depth)
        dropped.append(dropout(part))
    return torch.cat(dropped)


class TempGeo(nn.Module):
    """Temporally attended features ``z*`` (B, T, D) of frame features (B, T, D).

    The structure is pinned by the parameter counts of the paper's Table 8; a test holds them.
    """

    def __init__(self, width: int, *, stem_hidden: int, layers: int = 2, heads: int = 8, dropout: float = 0.1) -> None:
        super().__init__()
        self.stem = FrameStem(width, stem_hidden, dropout)
        layer = nn.TransformerEncoderLayer(
            width, heads, dim_feedforward=width, dropout=dropout, batch_first=True, norm_first=True
        )
        self.attention = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.project = nn.Linear(width, width)

    def forward(self, frame_features: Tensor) -> Tensor:
        return self.attend(self.stem(frame_features))

    def attend(self, hidden: Tensor) -> Tensor:
        """Return what follows the stem (B, T, D); clips do not see each other here."""
        hidden = hidden + sinusoidal_positions(hidden.shape[1], hidden.shape[2], hidden.device)
        return self.project(self.attention(hidden))


class FrameMlp(nn.Module):
    """Frame embeddings (..., E), L2-normalised, of features (..., D); Mish between the linear layers."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for width_in, width_out in zip(widths, widths[1:], strict=False):
            steps += [nn.Linear(width_in, width_out), nn.Mish()]
        self.layers = nn.Sequential(*steps[:-1])

    def forward(self, features: Tensor) -> Tensor:
        return functional.normalize(self.layers(features), dim=-1)
