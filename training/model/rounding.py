"""Weights on the half-precision grid: a bundle can then store them in half the space without losing anything."""

from __future__ import annotations

import torch
from torch import nn

_KEEP = ("frequency",)
"""Random Fourier frequencies stay float32: their phases reach 2 pi 256 x (docs/method.md 2.5)."""


@torch.no_grad()
def round_weights_(module: nn.Module) -> nn.Module:
    """Round every parameter of two or more dimensions to the nearest float16 value, in place, and return the module.

    Vectors (biases, norms, their running statistics) are small and stay as they are. Raises ValueError for a weight
    too large for float16.
    """
    for name, parameter in module.named_parameters():
        if parameter.ndim < 2 or name.rsplit(".", 1)[-1] in _KEEP:
            continue
        if float(parameter.abs().max()) > torch.finfo(torch.float16).max:
            raise ValueError(f"{name}: a weight of {float(parameter.abs().max()):g} does not fit into float16")
        parameter.copy_(parameter.half().float())
    return module
