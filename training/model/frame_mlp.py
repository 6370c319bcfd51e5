"""The frame MLP (SPEC 2.4): from frame features to the space shared with locations."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


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
