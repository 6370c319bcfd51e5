"""Scene-conditioned classifiers: the ISNs of Muller-Budack et al. (2018) on cached features.

They train one network for each kind of scene (indoor, urban, natural) over several partitions of the Earth at once, and
multiply the probabilities of a cell and of the coarser cells around it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.baselines.flat import FlatHead


class SceneHeads(nn.Module):
    """One perceptron for each scene and partition, and a recogniser of the scene for features without a label."""

    def __init__(
        self, feature_dim: int, cells_per_level: Sequence[int], scenes: int, hidden: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.recogniser = nn.Linear(feature_dim, scenes)
        self.heads = nn.ModuleList(
            nn.ModuleList(FlatHead(feature_dim, cells, hidden) for cells in cells_per_level) for _ in range(scenes)
        )

    def forward(self, features: Tensor, scenes: Tensor | None = None) -> list[Tensor]:
        """Return the scores (N, K) of each partition for features (N, D), coarse to fine.

        The network of the scene answers: ``scenes`` (N,) int64, or else the most probable one.
        """
        chosen = self.recogniser(features).argmax(dim=1) if scenes is None else scenes
        answers = [[head(features)[0] for head in of_scene] for of_scene in self.heads]
        rows = torch.arange(len(features), device=features.device)
        return [torch.stack(level)[chosen, rows] for level in zip(*answers, strict=True)]

    def scene_loss(self, features: Tensor, scenes: Tensor) -> Tensor:
        """Return the cross-entropy of the recogniser, a scalar."""
        return functional.cross_entropy(self.recogniser(features), scenes)
