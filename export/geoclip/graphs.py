"""The two graphs of a GeoCLIP bundle as torch modules."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.graphs.graphs import LocationEncoderGraph, prepare_graph_
from export.graphs.half_precision import HalfRegion, Precision
from training.model.dual_encoder import CLIP_MEAN, CLIP_STD
from training.model.location_encoder import LocationEncoder


class ImageEncoderGraph(nn.Module):
    """``frames_rgb`` (N, S, S, 3) uint8 to ``frame_embedding`` (N, E) float32, L2-normalised.

    CLIP's normalisation of the pixels, its image tower, and GeoCLIP's head.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, clip: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.clip, self.head = clip, head
        # x / 255 - mean, over std, folded into one multiplication and one addition.
        scale = 1.0 / (255.0 * torch.tensor(CLIP_STD)).view(1, 3, 1, 1)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", -255.0 * torch.tensor(CLIP_MEAN).view(1, 3, 1, 1) * scale, persistent=False)

    def forward(self, frames_rgb: Tensor) -> Tensor:
        # TensorRT takes bytes as an input of the network and can do nothing with them but turn them into numbers.
        images = frames_rgb.float().permute(0, 3, 1, 2)  # (N, 3, S, S)
        return functional.normalize(self.head(self.clip(images * self.scale + self.shift)), dim=-1)


def reference_graphs(clip: nn.Module, head: nn.Module, location_encoder: LocationEncoder) -> dict[str, nn.Module]:
    """Return the two graphs by name, as published: what the exported ones are held against."""
    return {
        "image_encoder": ImageEncoderGraph(clip, head).eval(),
        "location_encoder": LocationEncoderGraph(location_encoder).eval(),
    }


def exported_graph(graph: nn.Module, frame_size_px: int, precision: Precision = "fp32") -> nn.Module:
    """Return a graph as it is exported, made from a copy; ``fp16`` is the tower alone, normalisation and head are not.

    The location encoder is the same in every precision, see :mod:`export.graphs.half_precision`.
    """
    prepared = prepare_graph_(copy.deepcopy(graph), frame_size_px, precision)
    if precision == "fp16" and isinstance(prepared, ImageEncoderGraph):
        prepared.clip = HalfRegion(prepared.clip)
    return prepared
