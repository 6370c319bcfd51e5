"""The two image backbones, as open_clip and transformers build them, at any size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def build_clip_visual(
    *,
    embed_dim: int,
    image_size: int,
    width: int,
    layers: int | Sequence[int],
    patch_size: int = 14,
    head_width: int = 64,
    quick_gelu: bool = True,
) -> nn.Module:
    """Return open_clip's image tower: (N, 3, S, S) float32 to the projected image embedding (N, embed_dim).

    An integer ``layers`` builds CLIP's ViT, four integers its ModifiedResNet (``patch_size`` is then unused). The
    tower comes from open_clip's own builder, so that its published weights load by name.
    """
    # open_clip offers no public builder for the image tower alone; CLIP(...) would build an unused text tower too.
    from open_clip.model import CLIPVisionCfg, _build_vision_tower

    config = CLIPVisionCfg(
        layers=layers if isinstance(layers, int) else tuple(layers),
        width=width,
        head_width=head_width,
        patch_size=patch_size,
        image_size=image_size,
    )
    return _build_vision_tower(embed_dim, config, quick_gelu=quick_gelu)


def build_conv_tower(*, embed_dim: int, image_size: int, channels: Sequence[int]) -> nn.Module:
    """Return a plain convolutional tower: (N, 3, S, S) float32 to (N, embed_dim).

    Each stage is a 3x3 convolution, a batch norm and a ReLU; the first three halve the picture. The last map is not
    pooled but read whole, so that where in the picture a coast runs is kept.
    """
    layers: list[nn.Module] = []
    before, side = 3, image_size
    for index, width in enumerate(channels):
        stride = 2 if index < 3 else 1
        layers += [nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        before, side = width, (side + stride - 1) // stride
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * side * side, embed_dim))


class DinoClassToken(nn.Module):
    """DINOv2 with registers: the class token after the final norm (N, embed_dim) of (N, 3, S, S) float32 images."""

    def __init__(
        self, *, embed_dim: int, image_size: int, patch_size: int, layers: int, heads: int, register_tokens: int = 4
    ) -> None:
        super().__init__()
        from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

        config = Dinov2WithRegistersConfig(
            hidden_size=embed_dim,
            image_size=image_size,
            patch_size=patch_size,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_register_tokens=register_tokens,
            attn_implementation="sdpa",
        )
        self.backbone = Dinov2WithRegistersModel(config)
        self.image_size = image_size

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone(pixel_values=images).last_hidden_state[:, 0]

    @torch.no_grad()
    def bake_positions(self, image_size: int) -> None:
        """Replace the position embeddings by their interpolation to ``image_size``, once.

        The published weights hold 37 x 37 positions for 518 pixels and interpolate to 16 x 16 on every call with an
        antialiased resize that TensorRT refuses (docs/method.md 6). Afterwards only images of this size may be given.
        """
        embeddings = self.backbone.embeddings
        patches = (image_size // embeddings.config.patch_size) ** 2
        probe = torch.zeros(1, patches + 1, embeddings.config.hidden_size)
        baked = embeddings.interpolate_pos_encoding(probe, image_size, image_size)
        embeddings.position_embeddings = nn.Parameter(baked.clone(), requires_grad=False)
        self.image_size = image_size


class SiglipPooled(nn.Module):
    """SigLIP's image tower: the pooled embedding (N, embed_dim) of (N, 3, S, S) float32 images of its own size."""

    def __init__(
        self, *, embed_dim: int, image_size: int, patch_size: int, layers: int, heads: int, intermediate: int
    ) -> None:
        super().__init__()
        from transformers import SiglipVisionConfig, SiglipVisionModel

        config = SiglipVisionConfig(
            hidden_size=embed_dim,
            image_size=image_size,
            patch_size=patch_size,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=intermediate,
            attn_implementation="sdpa",
        )
        self.backbone = SiglipVisionModel(config)

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone(pixel_values=images).pooler_output
