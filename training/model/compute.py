"""Multiplications of the full model, counted by torch's own counter on weights that hold no numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from training.config import ModelConfig
from training.model.vidtag import build_model

PAPER_GMACS = 83.47
"""Table 14, "Test GMACs" of VidTAG; GeoCLIP has 81.91 there."""


@dataclass(frozen=True, slots=True)
class PartCompute:
    """A network's multiply-accumulate operations for one frame of a clip, in 1e9, and its parameters."""

    name: str
    gmacs: float
    parameters: int


def count_compute(config: ModelConfig, frames: int = 16) -> list[PartCompute]:
    """Return what each network does for one frame of a clip of ``frames``.

    Attention over a clip grows with its length; it is counted for the clip and divided. The gallery is embedded once
    and not counted; GeoRefiner's queries are rows of it.
    """
    with torch.device("meta"):
        model = build_model(config)
        images = torch.zeros(1, 3, config.frame_size_px, config.frame_size_px)
        features = torch.zeros(1, frames, config.feature_dim)
        queries = torch.zeros(1, frames, config.embed_dim)
        place = torch.zeros(1, 2, dtype=torch.float64)
    tempgeo = model.tempgeo
    if tempgeo is None:
        raise ValueError("the whole model is counted: it needs a TempGeo")
    model.eval()
    runs: list[tuple[str, torch.nn.Module, Callable[[], object], int]] = [
        ("CLIP", model.dual_encoder.clip, lambda: model.dual_encoder.clip(images), 1),
        ("DINOv2" if config.siglip is None else "SigLIP", model.dual_encoder.dino,
         lambda: model.dual_encoder.dino(images), 1),
        ("TempGeo", tempgeo, lambda: tempgeo(features), frames),
        ("frame MLP", model.frame_mlp, lambda: model.frame_mlp(features), frames),
        ("GeoRefiner", model.georefiner, lambda: model.georefiner(features, queries), frames),
        ("location encoder (one place)", model.location_encoder, lambda: model.location_encoder(place), 1),
    ]  # fmt: skip
    return [
        PartCompute(name, _macs(run) / count / 1e9, sum(weight.numel() for weight in module.parameters()))
        for name, module, run, count in runs
    ]


def compute_report(config: ModelConfig, frames: int = 16) -> str:
    """Return the counts as a table, beside the paper's figure and why it differs."""
    parts = count_compute(config, frames)
    per_frame = sum(part.gmacs for part in parts[:-1])
    lines = [f"{part.name:30s} {part.gmacs:9.3f} GMACs  {part.parameters / 1e6:8.2f} M parameters" for part in parts]
    clip, second, *heads, place = (part.gmacs for part in parts)
    reading = clip + frames * (sum(heads) + place)
    lines += [
        f"{'one frame of a clip of ' + str(frames):30s} {per_frame:9.3f} GMACs",
        f"The paper's Table 14 says {PAPER_GMACS} GMACs, and 81.91 for GeoCLIP, whose image tower is this CLIP alone.",
        f"So its figure has no room for the second ViT-L/14 of its Sec. 3.1, which adds {second:.2f} a frame. One",
        f"frame through CLIP and a clip of {frames} through TempGeo, frame MLP, location encoder and GeoRefiner make",
        f"{reading:.2f}, the nearest reading. Counted here: matrix products, convolutions and attention, by",
        "torch.utils.flop_counter.",
    ]
    return "\n".join(lines)


def _macs(run: Callable[[], object]) -> float:
    # With gradients enabled: without them torch takes fused kernels for its transformer layers that no counter sees
    # into.
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        run()
    return counter.get_total_flops() / 2.0
