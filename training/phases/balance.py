"""Both branches at one loudness: small backbones trained from scratch may differ tenfold in the length of output."""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor

from training.model.backbones import DinoClassToken
from training.model.dual_encoder import DualFrameEncoder

_log = logging.getLogger("training")


@torch.no_grad()
def balance_branches_(encoder: DualFrameEncoder, frames_rgb: Tensor) -> float:
    """Scale the DINOv2 branch so that its outputs are about as long as CLIP's, in place, and return the factor.

    The branches are joined and normalised once (SPEC 2.2), so a branch with short outputs would drown: the first
    flyover lost its better branch so. The factor is a power of two, which leaves every rounding of the weights as it
    is. Published backbones are never touched.
    """
    encoder.eval()
    clip, dino = encoder.branches(frames_rgb)
    ratio = float(clip.norm(dim=-1).mean() / dino.norm(dim=-1).mean())
    factor = 2.0 ** round(math.log2(ratio))
    branch = encoder.dino
    if not isinstance(branch, DinoClassToken):
        raise TypeError(f"the second branch is {type(branch).__name__}, not a DINOv2 built here")
    branch.backbone.layernorm.weight.mul_(factor)
    branch.backbone.layernorm.bias.mul_(factor)
    _log.info("branches: CLIP is %.2f times as long as DINOv2; DINOv2 scaled by %g", ratio, factor)
    return factor
