"""A hierarchical query decoder in the manner of GeoDecoder (Clark et al. 2023) on cached features.

Learned queries, one for each partition of the Earth and kind of scene, look at the features of the picture by
cross-attention and at each other by self-attention; each partition has its own classifier. GeoDecoder looks at the
patches of a Swin transformer. The cache holds one vector a frame, so here the tokens are whatever vectors of the frame
there are: the branches of the dual encoder, or patches where they were kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


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
        chosen = self._scene_scores(filled).argmax(dim=1) if scenes is None else scenes
        answering = filled[torch.arange(len(features), device=features.device), :, chosen]  # (N, levels, width)
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
