"""Attention as it is exported gives what torch's and transformers' own modules give."""

import pytest
import torch
from open_clip.modified_resnet import AttentionPool2d
from torch import nn
from transformers import Dinov2WithRegistersConfig, SiglipVisionConfig
from transformers.models.dinov2_with_registers.modeling_dinov2_with_registers import Dinov2WithRegistersAttention
from transformers.models.siglip.modeling_siglip import SiglipAttention

from export.graphs.attention import PackedAttention, PackedPool, pack_attention_

FORMS = ("operator", "spelled out")
SAME = {"atol": 1e-6, "rtol": 1e-5}
"""The same arithmetic in another order, values about 1."""


@pytest.fixture
def values():
    torch.manual_seed(0)
    return torch.randn(2, 7, 32), torch.randn(2, 5, 32)


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_a_packed_layer_of_torch_gives_the_same(values, form):
    encoder = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True).eval()
    decoder = nn.TransformerDecoderLayer(32, 4, 64, batch_first=True, norm_first=True).eval()
    for layer in (encoder, decoder):
        nn.init.normal_(layer.self_attn.in_proj_bias)
    nn.init.normal_(decoder.multihead_attn.in_proj_bias)
    ours, memory = values
    wanted = encoder(ours), decoder(ours, memory)
    found = pack_attention_(encoder, form)(ours), pack_attention_(decoder, form)(ours, memory)
    kinds = [type(m) for layer in (encoder, decoder) for m in layer.modules()]
    assert kinds.count(PackedAttention) == 3 and nn.MultiheadAttention not in kinds
    for a, b in zip(wanted, found, strict=True):
        assert torch.allclose(a, b, **SAME)


def backbone_attentions():
    dino = Dinov2WithRegistersConfig(hidden_size=32, num_attention_heads=4, attn_implementation="sdpa")
    siglip = SiglipVisionConfig(hidden_size=32, num_attention_heads=4, attn_implementation="sdpa")
    return Dinov2WithRegistersAttention(dino).eval(), SiglipAttention(siglip).eval()


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_packed_attention_of_a_backbone_gives_the_same(values, form):
    for attention in backbone_attentions():
        parent = nn.Sequential(attention)
        wanted, _ = parent[0](values[0])
        found, _ = pack_attention_(parent, form)[0](values[0])
        assert isinstance(parent[0], PackedAttention)
        assert torch.allclose(wanted, found, **SAME)


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_packed_pooling_of_clip_gives_the_same(form):
    torch.manual_seed(0)
    parent = nn.Sequential(AttentionPool2d(3, 32, 4, 16).eval())
    images = torch.randn(2, 32, 3, 3)
    wanted = parent(images)
    assert torch.allclose(wanted, pack_attention_(parent, form)(images), **SAME)
    assert isinstance(parent[0], PackedPool)


def test_attention_that_cannot_be_packed_is_refused():
    with pytest.raises(ValueError, match="packed weights"):
        pack_attention_(nn.Sequential(nn.MultiheadAttention(8, 2, bias=False)), "operator")
