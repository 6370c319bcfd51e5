"""GeoRefiner (docs/method.md 2.7): frames look at the whole clip on both sides."""

import pytest
import torch

from training.model.georefiner import GeoRefiner


@pytest.fixture
def refiner():
    torch.manual_seed(0)
    return GeoRefiner(32, 16, heads=4).eval()


def test_it_has_one_encoder_and_two_decoder_layers(refiner):
    assert (len(refiner.encoder.layers), len(refiner.decoder.layers)) == (1, 2)
    assert all(layer.norm_first for layer in (*refiner.encoder.layers, *refiner.decoder.layers))


@pytest.mark.parametrize("frames", [1, 2, 16, 31])
def test_any_length_gives_unit_vectors(refiner, frames):
    refined = refiner(torch.randn(2, frames, 32), torch.randn(2, frames, 16))
    assert refined.shape == (2, frames, 16)
    assert torch.allclose(refined.norm(dim=-1), torch.ones(2, frames), atol=1e-6)


def test_no_mask_hides_the_future(refiner):
    features = torch.randn(1, 5, 32, requires_grad=True)
    queries = torch.randn(1, 5, 16, requires_grad=True)
    first = refiner(features, queries)[0, 0]
    for gradient in torch.autograd.grad(first @ torch.randn(16), (features, queries)):
        assert (gradient[0].abs().amax(-1) > 0).all()


def test_both_sides_have_positions(refiner):
    features, queries = torch.randn(1, 5, 32), torch.randn(1, 5, 16)
    plain = refiner(features, queries)
    assert not torch.allclose(refiner(features.flip(1), queries), plain, atol=1e-4)
    assert not torch.allclose(refiner(features, queries.flip(1)).flip(1), plain, atol=1e-4)
