"""Attention as it is written into a graph: the weights packed, the operators few, the form that engines take best.

In float16 it is ONNX's ``Attention`` operator, which TensorRT and ONNX Runtime turn into one kernel. In float32 it is
spelled out as two products and a softmax: TensorRT has no float32 kernel for the operator and refuses the graph, and on
ONNX Runtime's CPU both forms take the same time.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

AttentionForm = Literal["operator", "spelled out"]


class PackedAttention(nn.Module):
    """An attention with the weights of another one and its way of being called: the first value is attended.

    ``query_key_value`` are weights and biases of the three projections, one after the other.
    """

    # What torch's transformer layers look at before they call: no fused kernel of torch's, please.
    batch_first = True
    in_proj_bias = None

    def __init__(self, weight: Tensor, bias: Tensor, output: nn.Linear, heads: int, form: AttentionForm) -> None:
        super().__init__()
        self.query_key_value = _linear(weight, bias)
        self.output = output
        self.heads, self.form = heads, form

    def forward(self, values: Tensor, memory: Tensor | None = None, *_: Any, **__: Any) -> tuple[Tensor, None]:
        query, key, value = self._project(values, memory)  # (N, T, width) each
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
        if self.form == "operator":
            attended = functional.scaled_dot_product_attention(query, key, value)  # (N, heads, T, width / heads)
        else:
            scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
            attended = torch.softmax(scores, dim=-1) @ value
        return self.output(attended.transpose(1, 2).flatten(2)), None

    def _project(self, values: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        if memory is None or memory is values:
            query, key, value = self.query_key_value(values).chunk(3, dim=-1)
            return query, key, value
        width = values.shape[-1]
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        query = functional.linear(values, weight[:width], bias[:width])
        key, value = functional.linear(memory, weight[width:], bias[width:]).chunk(2, dim=-1)
        return query, key, value


class PackedPool(nn.Module):
    """CLIP's attention pooling (N, C, H, W) to (N, width): the mean looks at all places, and only its answer counts."""

    def __init__(self, positions: Tensor, attention: PackedAttention) -> None:
        super().__init__()
        self.positions = nn.Parameter(positions.detach(), requires_grad=False)  # (1 + H * W, C)
        self.attention = attention

    def forward(self, images: Tensor) -> Tensor:
        places = images.flatten(2).transpose(1, 2)  # (N, H * W, C)
        tokens = torch.cat([places.mean(1, keepdim=True), places], dim=1) + self.positions
        return self.attention(tokens[:, :1], tokens)[0][:, 0]


def pack_attention_(module: nn.Module, form: AttentionForm) -> nn.Module:
    """Replace every attention of torch and of the backbones inside a module, in place, and return the module."""
    from open_clip.modified_resnet import AttentionPool2d
    from transformers.models.dinov2_with_registers.modeling_dinov2_with_registers import Dinov2WithRegistersAttention
    from transformers.models.siglip.modeling_siglip import SiglipAttention

    for name, child in list(module.named_children()):
        if isinstance(child, nn.MultiheadAttention):
            setattr(module, name, _pack_torch(child, form))
        elif isinstance(child, Dinov2WithRegistersAttention):
            setattr(module, name, _pack_parts(child, child.o_proj, child.num_attention_heads, form))
        elif isinstance(child, SiglipAttention):
            setattr(module, name, _pack_parts(child, child.out_proj, child.num_heads, form))
        elif isinstance(child, AttentionPool2d):
            attention = _pack_parts(child, child.c_proj, child.num_heads, form)
            setattr(module, name, PackedPool(child.positional_embedding, attention))
        else:
            pack_attention_(child, form)
    return module


def _pack_torch(attention: nn.MultiheadAttention, form: AttentionForm) -> PackedAttention:
    if attention.in_proj_weight is None or attention.in_proj_bias is None or not attention.batch_first:
        raise ValueError("only attention with packed weights, biases and the batch first can be exported")
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    return PackedAttention(weight, bias, attention.out_proj, attention.num_heads, form)


def _pack_parts(attention: Any, output: nn.Linear, heads: int, form: AttentionForm) -> PackedAttention:
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    weight, bias = torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
    return PackedAttention(weight, bias, output, heads, form)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    with torch.device("meta"):  # the weights are there already
        linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight = nn.Parameter(weight.detach(), requires_grad=False)
    linear.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return linear
