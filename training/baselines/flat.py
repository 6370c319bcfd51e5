"""One score a cell: PlaNet's classifier, and the paper's CLIP and DINOv2 rows, on cached features."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class FlatHead(nn.Module):
    """A perceptron from features to one score a cell; without ``hidden`` it is a single linear layer."""

    def __init__(self, feature_dim: int, cells: int, hidden: Sequence[int] = (), dropout: float = 0.1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = feature_dim
        for next_width in hidden:
            layers += [nn.Linear(width, next_width), nn.GELU(), nn.Dropout(dropout)]
            width = next_width
        self.layers = nn.Sequential(*layers, nn.Linear(width, cells))

    def forward(self, features: Tensor, scenes: Tensor | None = None) -> list[Tensor]:
        """Return the scores (N, K) of features (N, D) as the only level; scenes do not matter to it."""
        return [self.layers(features)]
