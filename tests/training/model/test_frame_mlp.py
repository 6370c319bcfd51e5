"""The frame MLP (docs/method.md 2.4): linear layers with Mish between them and nothing behind the last but the norm."""

import torch
from torch.nn import functional

from training.model.tempgeo import FrameMlp


def test_it_is_linear_mish_linear_then_normalised():
    torch.manual_seed(0)
    mlp = FrameMlp((6, 5, 4, 3)).double()
    features = torch.randn(2, 7, 6, dtype=torch.float64)
    hidden = features
    weights = [parameter.detach() for parameter in mlp.parameters()]
    for layer in range(3):
        hidden = hidden @ weights[2 * layer].T + weights[2 * layer + 1]
        if layer < 2:
            hidden = hidden * torch.tanh(functional.softplus(hidden))
    wanted = hidden / hidden.norm(dim=-1, keepdim=True)
    assert torch.allclose(mlp(features), wanted, atol=1e-12)


def test_its_widths_are_the_widths_asked_for():
    assert [tuple(p.shape) for p in FrameMlp((6, 5, 3)).parameters()] == [(5, 6), (5,), (3, 5), (3,)]
