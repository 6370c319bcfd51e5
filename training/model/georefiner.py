"""GeoRefiner (docs/method.md 2.7): an encoder-decoder that denoises the positions of Phase I in the light of the
whole clip.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from training.model.tempgeo import sinusoidal_positions


class GeoRefiner(nn.Module):
    """Refined location embeddings (B, T, E), L2-normalised, from ``z*`` (B, T, D) and noisy embeddings (B, T, E)."""

    def __init__(
        self, width: int, embed_dim: int, *, encoder_layers: int = 1, decoder_layers: int = 2, heads: int = 8,
        dropout: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        shape = {
            "d_model": width, "nhead": heads, "dim_feedforward": width, "dropout": dropout,
            "batch_first": True, "norm_first": True,
        }  # fmt: skip
        encoder = nn.TransformerEncoderLayer(**shape)
        self.encoder = nn.TransformerEncoder(encoder, encoder_layers, enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(**shape), decoder_layers)
        self.embed_query = nn.Linear(embed_dim, width)
        self.embed_output = nn.Linear(width, embed_dim)

    def forward(self, refined_features: Tensor, location_embedding: Tensor) -> Tensor:
        positions = sinusoidal_positions(refined_features.shape[1], refined_features.shape[2], refined_features.device)
        memory = self.encoder(refined_features + positions)
        queries = self.embed_query(location_embedding) + positions
        return functional.normalize(self.embed_output(self.decoder(queries, memory)), dim=-1)
