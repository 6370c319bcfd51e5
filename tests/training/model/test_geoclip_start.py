"""GeoCLIP's published weights as the start of training (docs/method.md 2.5)."""

import math

import pytest
import torch

from training.config_files import load_config
from training.model.dual_encoder import DualFrameEncoder
from training.model.geoclip_start import start_from_geoclip
from training.model.vidtag import build_heads
from vidtag_cli.errors import ModelError

SIGMAS = load_config("paper").model.location.sigmas


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("geoclip", reason="pip install geoclip: it holds the published weights")
    torch.manual_seed(0)
    config = load_config("paper").model
    return build_heads(config, DualFrameEncoder(torch.nn.Identity(), torch.nn.Identity()))


def test_all_but_the_middle_frequencies_are_geoclips(model):
    before = model.location_encoder.branches[1].frequency.clone()
    hashes = start_from_geoclip(model, SIGMAS)
    geoclip = pytest.importorskip("geoclip")
    published = geoclip.LocationEncoder()
    assert torch.equal(model.location_encoder.branches[0].frequency, published.LocEnc0.capsule[0].b)
    assert torch.equal(model.location_encoder.branches[1].frequency, before)
    assert before.std() == pytest.approx(8.0, rel=0.1)
    assert torch.equal(model.location_encoder.branches[2].head.weight, published.LocEnc2.head[0].weight)
    assert float(model.logit_scale().detach()) == pytest.approx(math.exp(3.6810), rel=1e-3)
    assert all(len(value) == 64 for value in hashes.values())


def test_neighbours_are_alike_and_strangers_are_not(model):
    start_from_geoclip(model, SIGMAS)
    places = torch.tensor([[48.8584, 2.2945], [48.8590, 2.2950], [35.66, 139.75]], dtype=torch.float64)
    with torch.no_grad():
        embedding = model.location_encoder(places)
    assert embedding[0] @ embedding[1] > 0.98
    assert embedding[0] @ embedding[2] < 0.5


def test_files_that_are_not_there_are_named(model, tmp_path):
    with pytest.raises(ModelError, match="location_encoder_weights.pth"):
        start_from_geoclip(model, SIGMAS, tmp_path)


def test_another_encoder_is_refused():
    pytest.importorskip("geoclip", reason="pip install geoclip: it holds the published weights")
    config = load_config("flyover").model
    model = build_heads(config, DualFrameEncoder(torch.nn.Identity(), torch.nn.Identity()))
    with pytest.raises(ModelError, match="equal_earth"):
        start_from_geoclip(model, config.location.sigmas)
