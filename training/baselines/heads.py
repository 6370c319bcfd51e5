"""Heads over cells of the Earth on cached features (docs/method.md 2.12).

``FlatHead`` is PlaNet's classifier, and the paper's CLIP and DINOv2 rows. ``SceneHeads`` are the ISNs of Muller-Budack
et al. (2018), who train one network for each kind of scene (indoor, urban, natural) over several partitions of the
Earth at once, and multiply the probabilities of a cell and of the coarser cells around it. ``QueryDecoder`` is in the
manner of GeoDecoder (Clark et al. 2023): learned queries, one for each partition and kind of scene, look at the
features of the picture by cross-attention and at each other by self-attention. GeoDecoder looks at the patches of a
Swin transformer. The cache holds one vector a frame, so here the tokens are whatever vectors of the frame there are:
the branches of the dual encoder, or patches where they were kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Branch = Literal["both", "clip", "dino"]


@dataclass(frozen=True, slots=True)
class CellsConfig:
    """A classifier over S2 cells of these levels, coarse to fine; the finest answers.

    ``flat`` has one level, ``levels`` a perceptron for each, multiplied, ``queries`` a query decoder over the branches.
    """

    head: Literal["flat", "levels", "queries"]
    levels: tuple[int, ...]
    hidden: tuple[int, ...] = ()
    width: int = 256
    mean_centres: bool = False
    steps: int = 1500
    batch_frames: int = 512
    learning_rate: float = 1e-3


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
        scene = self.recogniser(features).argmax(dim=1) if scenes is None else scenes
        answers = [[head(features)[0] for head in of_scene] for of_scene in self.heads]
        rows = torch.arange(len(features), device=features.device)
        return [torch.stack(level)[scene, rows] for level in zip(*answers, strict=True)]

    def scene_loss(self, features: Tensor, scenes: Tensor) -> Tensor:
        """Return the cross-entropy of the recogniser, a scalar."""
        return functional.cross_entropy(self.recogniser(features), scenes)


class QueryDecoder(nn.Module):
    """Queries (levels x scenes) that a transformer decoder fills from tokens; ``token_dims`` are their widths.

    Features (N, D) are cut into tokens of these widths, which add up to D. Each query starts as the sum of a vector of
    its level and one of its scene.
    """

    def __init__(
        self,
        token_dims: Sequence[int],
        cells_per_level: Sequence[int],
        scenes: int = 1,
        width: int = 512,
        layers: int = 2,
        heads: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.token_dims = list(token_dims)
        self.embed = nn.ModuleList(nn.Linear(dim, width) for dim in token_dims)
        self.level_queries = nn.Parameter(torch.randn(len(cells_per_level), 1, width) * width**-0.5)
        self.scene_queries = nn.Parameter(torch.randn(1, scenes, width) * width**-0.5)
        layer = nn.TransformerDecoderLayer(
            width, heads, dim_feedforward=4 * width, dropout=dropout, batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerDecoder(layer, layers, norm=nn.LayerNorm(width))
        self.recogniser = nn.Linear(width, 1)
        self.classifiers = nn.ModuleList(nn.Linear(width, cells) for cells in cells_per_level)

    def forward(self, features: Tensor, scenes: Tensor | None = None) -> list[Tensor]:
        """Return the scores (N, K) of each partition for features (N, D), coarse to fine.

        The queries of the scene answer: ``scenes`` (N,) int64, or else the most probable one.
        """
        filled = self._decode(features)  # (N, levels, scenes, width)
        scene = self._scene_scores(filled).argmax(dim=1) if scenes is None else scenes
        answering = filled[torch.arange(len(features), device=features.device), :, scene]  # (N, levels, width)
        return [classify(answering[:, level]) for level, classify in enumerate(self.classifiers)]

    def scene_loss(self, features: Tensor, scenes: Tensor) -> Tensor:
        """Return the cross-entropy of the recognised scene, a scalar."""
        return functional.cross_entropy(self._scene_scores(self._decode(features)), scenes)

    def _decode(self, features: Tensor) -> Tensor:
        parts = features.split(self.token_dims, dim=-1)
        tokens = torch.stack([embed(part) for embed, part in zip(self.embed, parts, strict=True)], dim=1)
        queries = self.level_queries + self.scene_queries  # (levels, scenes, width)
        filled = self.decoder(queries.flatten(0, 1).expand(len(features), -1, -1), tokens)
        return filled.unflatten(1, queries.shape[:2])

    def _scene_scores(self, filled: Tensor) -> Tensor:
        return self.recogniser(filled).squeeze(-1).mean(dim=1)  # (N, scenes): a scene's queries of all levels


def build_head(cells: CellsConfig, token_widths: list[int], cells_per_level: list[int]) -> nn.Module:
    """Return a head with random weights for features that are tokens of these widths laid end to end."""
    width = sum(token_widths)
    if cells.head == "flat":
        return FlatHead(width, cells_per_level[-1], cells.hidden)
    if cells.head == "levels":
        return SceneHeads(width, cells_per_level, scenes=1, hidden=cells.hidden)
    return QueryDecoder(token_widths, cells_per_level, width=cells.width)
