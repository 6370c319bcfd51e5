"""The graphs of a bundle as torch modules: exactly the inputs and outputs that the bundle's contract names."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from export.graphs.attention import pack_attention_
from export.graphs.float32_phases import SplitLocationEncoder
from export.graphs.half_precision import Precision, halve_
from training.model.backbones import DinoClassToken
from training.model.dual_encoder import DualFrameEncoder
from training.model.georefiner import GeoRefiner
from training.model.location_encoder import LocationEncoder
from training.model.tempgeo import FrameMlp, TempGeo
from training.model.vidtag import VidTag


class DualEncoderGraph(nn.Module):
    """``frames_rgb`` (N, S, S, 3) uint8 to ``frame_features`` (N, D) float32."""

    def __init__(self, encoder: DualFrameEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, frames_rgb: Tensor) -> Tensor:
        # TensorRT takes bytes as an input of the network and can do nothing with them but turn them into numbers.
        return self.encoder(frames_rgb.float())


class TempGeoGraph(nn.Module):
    """``frame_features`` (B, T, D) to ``refined_features`` (B, T, D) and ``frame_embedding`` (B, T, E)."""

    def __init__(self, tempgeo: TempGeo, frame_mlp: FrameMlp) -> None:
        super().__init__()
        self.tempgeo, self.frame_mlp = tempgeo, frame_mlp

    def forward(self, frame_features: Tensor) -> tuple[Tensor, Tensor]:
        refined_features = self.tempgeo(frame_features)
        return refined_features, self.frame_mlp(refined_features)


class LocationEncoderGraph(nn.Module):
    """``latlon_deg`` (N, 2) float64 to ``location_embedding`` (N, E) float32."""

    def __init__(self, encoder: LocationEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, latlon_deg: Tensor) -> Tensor:
        return self.encoder(latlon_deg)


class LocationPartsGraph(nn.Module):
    """``latlon_deg_high`` and ``latlon_deg_low`` (N, 2) float32 to ``location_embedding`` (N, E) float32."""

    def __init__(self, encoder: LocationEncoder) -> None:
        super().__init__()
        self.encoder = SplitLocationEncoder(encoder)

    def forward(self, latlon_deg_high: Tensor, latlon_deg_low: Tensor) -> Tensor:
        return self.encoder(latlon_deg_high, latlon_deg_low)


class GeoRefinerGraph(nn.Module):
    """``refined_features`` (B, T, D) and ``location_embedding`` (B, T, E) to ``refined_embedding`` (B, T, E)."""

    def __init__(self, refiner: GeoRefiner) -> None:
        super().__init__()
        self.refiner = refiner

    def forward(self, refined_features: Tensor, location_embedding: Tensor) -> Tensor:
        return self.refiner(refined_features, location_embedding)


class ChannelAffine(nn.Module):
    """A batch norm at inference: one factor and one summand a channel, of (N, C) or (N, C, H, W).

    Written out, because the exporter would otherwise multiply the factor into the weights before, which then leave the
    half-precision grid they are stored on. The engine does the same multiplication when it opens the graph.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        super().__init__()
        if norm.running_mean is None or norm.running_var is None:
            raise ValueError("a batch norm without running statistics cannot be exported")
        shape = (-1, 1, 1) if isinstance(norm, nn.BatchNorm2d) else (-1,)
        scale = norm.weight.detach().double() * (norm.running_var.double() + norm.eps).rsqrt()
        shift = norm.bias.detach().double() - norm.running_mean.double() * scale
        self.register_buffer("scale", scale.float().reshape(shape))
        self.register_buffer("shift", shift.float().reshape(shape))

    def forward(self, values: Tensor) -> Tensor:
        return values * self.scale + self.shift


def reference_graphs(model: VidTag) -> dict[str, nn.Module]:
    """Return the four graphs of a model by name as it was trained: what the exported ones are held against.

    Raises ValueError for a model without TempGeo: the ablation is no bundle.
    """
    if model.tempgeo is None:
        raise ValueError("this model has no TempGeo: only the full model can be exported as a bundle")
    return {
        "dual_encoder": DualEncoderGraph(model.dual_encoder),
        "tempgeo": TempGeoGraph(model.tempgeo, model.frame_mlp),
        "location_encoder": LocationEncoderGraph(model.location_encoder),
        "georefiner": GeoRefinerGraph(model.georefiner),
    }


def exported_graph(model: VidTag, name: str, frame_size_px: int, precision: Precision = "fp32") -> nn.Module:
    """Return one graph of a model as it is exported, made from a copy of its part: the model stays as it is.

    Positions of DINOv2 are interpolated to ``frame_size_px`` once and for all. The location encoder is the same in
    every precision, see :mod:`export.graphs.half_precision`.
    """
    return prepare_graph_(copy.deepcopy(reference_graphs(model)[name]), frame_size_px, precision)


def prepare_graph_(graph: nn.Module, frame_size_px: int, precision: Precision = "fp32") -> nn.Module:
    """Make a graph ready to be exported, in place, and return it; any graph built of ``training.model`` will do."""
    graph.cpu().eval().requires_grad_(False)
    # Training on a CPU leaves convolutions in another memory order, which the exporter would spell out as transposes.
    graph.to(memory_format=torch.contiguous_format)
    for module in graph.modules():
        if isinstance(module, DinoClassToken):
            module.bake_positions(frame_size_px)
    _write_out_batch_norms(graph)
    pack_attention_(graph, "operator" if precision == "fp16" else "spelled out")
    return halve_(graph) if precision == "fp16" else graph


def location_parts_graph(model: VidTag) -> nn.Module:
    """Return the location encoder for engines without float64, made from a copy."""
    encoder = copy.deepcopy(model.location_encoder).cpu().eval().requires_grad_(False)
    return LocationPartsGraph(encoder)


def graph_sizes(model: VidTag, frame_size_px: int) -> Mapping[str, int]:
    """Return the sizes of the contract's letters in a model: ``S`` pixels, ``D`` and ``E`` widths."""
    return {
        "S": frame_size_px,
        "D": model.georefiner.embed_query.out_features,
        "E": model.georefiner.embed_query.in_features,
    }


def _write_out_batch_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
            setattr(module, name, ChannelAffine(child))
        else:
            _write_out_batch_norms(child)
