"""The whole model: its parts under fixed names, and the way from frames to embeddings."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from training.config import ModelConfig
from training.model.backbones import DinoClassToken, SiglipPooled, build_clip_visual, build_conv_tower
from training.model.dual_encoder import SIGLIP_MEAN, SIGLIP_STD, DualFrameEncoder, Upright
from training.model.georefiner import GeoRefiner
from training.model.location_encoder import LocationEncoder
from training.model.tempgeo import FrameMlp, TempGeo

INITIAL_LOG_SCALE = math.log(1.0 / 0.07)
MAX_LOGIT_SCALE = 100.0


class VidTag(nn.Module):
    """The five networks and the learned logit scale. ``tempgeo`` may be None: the ablation without it."""

    def __init__(
        self,
        dual_encoder: DualFrameEncoder,
        tempgeo: TempGeo | None,
        frame_mlp: FrameMlp,
        location_encoder: LocationEncoder,
        georefiner: GeoRefiner,
    ) -> None:
        super().__init__()
        self.dual_encoder = dual_encoder
        self.tempgeo = tempgeo
        self.frame_mlp = frame_mlp
        self.location_encoder = location_encoder
        self.georefiner = georefiner
        self.log_logit_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE))

    def logit_scale(self) -> Tensor:
        """Return the factor on cosines, at most 100."""
        return self.log_logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)

    def embed_frames(self, frame_features: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``z*`` (B, T, D) and frame embeddings (B, T, E) of frame features (B, T, D)."""
        refined = frame_features if self.tempgeo is None else self.tempgeo(frame_features)
        return refined, self.frame_mlp(refined)


def build_model(config: ModelConfig) -> VidTag:
    """Return the model with random weights, in the sizes of the configuration."""
    return build_heads(config, build_dual_encoder(config))


def build_heads(config: ModelConfig, dual_encoder: DualFrameEncoder) -> VidTag:
    """Return the model with random weights behind an encoder that is there already."""
    return VidTag(
        dual_encoder,
        build_tempgeo(config),
        FrameMlp((config.feature_dim, *config.mlp_hidden, config.embed_dim)),
        build_location_encoder(config),
        GeoRefiner(
            config.feature_dim, config.embed_dim, encoder_layers=config.refiner_encoder_layers,
            decoder_layers=config.refiner_decoder_layers, heads=config.heads, dropout=config.dropout,
        ),
    )  # fmt: skip


def build_dual_encoder(config: ModelConfig) -> DualFrameEncoder:
    """Return the dual encoder with random weights, of CLIP and DINOv2 or, where the configuration has it, SigLIP."""
    clip = _build_clip(config)
    upright = Upright(config.frame_size_px) if config.upright else None
    if config.siglip is None:
        return DualFrameEncoder(clip, DinoClassToken(
            embed_dim=config.dino.embed_dim, image_size=config.dino.image_size, patch_size=config.dino.patch_size,
            layers=config.dino.layers, heads=config.dino.heads, register_tokens=config.dino.register_tokens,
        ), upright=upright)  # fmt: skip
    siglip = config.siglip
    if siglip.image_size != config.frame_size_px:
        raise ValueError(f"SigLIP wants frames of {siglip.image_size} pixels, the model has {config.frame_size_px}")
    tower = SiglipPooled(
        embed_dim=siglip.embed_dim, image_size=siglip.image_size, patch_size=siglip.patch_size, layers=siglip.layers,
        heads=siglip.heads, intermediate=siglip.intermediate,
    )  # fmt: skip
    return DualFrameEncoder(clip, tower, dino_mean=SIGLIP_MEAN, dino_std=SIGLIP_STD, upright=upright)


def _build_clip(config: ModelConfig) -> nn.Module:
    if config.clip.conv_channels:
        return build_conv_tower(
            embed_dim=config.clip.embed_dim, image_size=config.frame_size_px, channels=config.clip.conv_channels
        )
    return build_clip_visual(
        embed_dim=config.clip.embed_dim, image_size=config.frame_size_px, width=config.clip.width,
        layers=config.clip.layers, patch_size=config.clip.patch_size, head_width=config.clip.head_width,
        quick_gelu=config.clip.quick_gelu,
    )  # fmt: skip


def build_tempgeo(config: ModelConfig) -> TempGeo:
    """Return TempGeo in the sizes of the configuration."""
    return TempGeo(
        config.feature_dim, stem_hidden=config.stem_hidden, layers=config.tempgeo_layers, heads=config.heads,
        dropout=config.dropout,
    )  # fmt: skip


def build_location_encoder(config: ModelConfig) -> LocationEncoder:
    """Return the location encoder in the sizes of the configuration."""
    return LocationEncoder(
        kind=config.location.kind, sigmas=config.location.sigmas, frequencies=config.location.frequencies,
        hidden=config.location.hidden, embed_dim=config.embed_dim,
    )  # fmt: skip
