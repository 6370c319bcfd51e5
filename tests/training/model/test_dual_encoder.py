"""The dual frame encoder (docs/method.md 2.2): its size, its normalisation, the order of its halves."""

import numpy as np
import pytest
import torch
from torch import nn

from training.config_files import load_config
from training.model.backbones import DinoClassToken
from training.model.dual_encoder import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, DualFrameEncoder
from training.model.vidtag import build_model

FOLDED_NORMALISATION = 5e-6
"""One multiplication and one addition in float32 against a subtraction and two divisions in float64, values up to 3."""


class Tap(nn.Module):
    """A branch that remembers its images and gives a constant vector."""

    def __init__(self, vector):
        super().__init__()
        self.vector = torch.tensor(vector)

    def forward(self, images):
        self.images = images
        return self.vector.expand(len(images), -1)


def random_frames(count=3, size_px=8):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, size_px, size_px, 3), dtype=np.uint8))


def test_the_full_encoder_has_608_million_parameters():
    with torch.device("meta"):
        encoder = build_model(load_config("paper").model).dual_encoder
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in encoder.named_children()}
    assert counts["clip"] == 303_966_208  # open_clip's ViT-L/14 image tower with its projection
    assert sum(counts.values()) // 1_000_000 == 608


@pytest.mark.parametrize(
    ("name", "mean", "std"), [("clip", CLIP_MEAN, CLIP_STD), ("dino", IMAGENET_MEAN, IMAGENET_STD)]
)
def test_each_branch_gets_its_own_normalisation(name, mean, std):
    branches = {"clip": Tap([1.0]), "dino": Tap([1.0])}
    frames = random_frames()
    DualFrameEncoder(**branches)(frames)
    wanted = (frames.double() / 255.0 - torch.tensor(mean).double()) / torch.tensor(std).double()
    assert (branches[name].images - wanted.permute(0, 3, 1, 2)).abs().max() < FOLDED_NORMALISATION


def test_clip_comes_first_and_the_whole_is_normalised_once():
    features = DualFrameEncoder(Tap([3.0, 0.0]), Tap([0.0, 4.0]))(random_frames())
    assert torch.allclose(features, torch.tensor([0.6, 0.0, 0.0, 0.8]).expand(3, -1))


def test_a_frame_does_not_depend_on_its_batch():
    torch.manual_seed(0)
    encoder = build_model(load_config("flyover").model).dual_encoder.eval()
    frames = random_frames(3, 48)
    with torch.no_grad():
        together, alone = encoder(frames), torch.cat([encoder(frame[None]) for frame in frames])
    assert torch.allclose(together, alone, atol=1e-6)
    assert torch.allclose(together.norm(dim=-1), torch.ones(3), atol=1e-6)


def test_baked_positions_give_what_interpolation_gives():
    torch.manual_seed(0)
    token = DinoClassToken(embed_dim=32, image_size=70, patch_size=14, layers=1, heads=2).eval()
    nn.init.normal_(token.backbone.embeddings.position_embeddings)
    images = torch.randn(2, 3, 42, 42)
    with torch.no_grad():
        interpolated = token(images)
        token.bake_positions(42)
        assert token.backbone.embeddings.position_embeddings.shape == (1, 3 * 3 + 1, 32)
        assert torch.allclose(token(images), interpolated, atol=1e-6)
