"""The location encoder (docs/method.md 2.5) against GeoCLIP's published one, and what happens at the antimeridian
(docs/method.md 3.1).
"""

import copy

import numpy as np
import pytest
import torch

from training.model.location_encoder import LocationEncoder, equal_earth, geoclip_state

GEOCLIP_SIGMAS = (1.0, 16.0, 256.0)
GEOCLIP_AGREEMENT = 1e-5
"""docs/method.md 2.5."""

PROJECTION_AGREEMENT = 1e-6
"""GeoCLIP takes the square root of 3 in float32: an error of 1e-8 of coordinates near 1."""

SEAM_STEP_DEG = 0.001
"""0.22 km between two points this far from 180 on either side, on the equator."""


def points(count=1000):
    """Return places on the whole globe with the poles and both sides of the antimeridian among them."""
    rng = np.random.default_rng(0)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    spread = np.stack([lat, rng.uniform(-180, 180, count)], -1)
    spread[:8] = [[90, 0], [-90, 0], [90, 50], [0, -180], [0, 179.9999], [-17, 180], [66.5, -179.999], [0, 0]]
    return torch.from_numpy(spread)


@pytest.fixture(scope="module")
def published():
    geoclip = pytest.importorskip("geoclip", reason="pip install geoclip: it holds the published weights")
    return geoclip.LocationEncoder().eval()


@pytest.fixture(scope="module")
def ours(published):
    encoder = LocationEncoder(kind="equal_earth", sigmas=GEOCLIP_SIGMAS)
    encoder.load_state_dict(geoclip_state(published.state_dict(), (True, True, True)), strict=True)
    return encoder.eval()


def test_the_projection_is_geoclips(published):
    from geoclip.model.location_encoder import equal_earth_projection

    assert (equal_earth(points()) - equal_earth_projection(points())).abs().max() < PROJECTION_AGREEMENT


@torch.no_grad()
def test_published_weights_give_geoclips_embeddings(published, ours):
    # GeoCLIP's own code in float64: in float32 its coordinates are known to a metre and its finest phases to 5e-4.
    wanted = copy.deepcopy(published).double()(points())
    assert (ours.sum_of_branches(points()) - wanted).abs().max() < GEOCLIP_AGREEMENT
    unit = torch.nn.functional.normalize(wanted, dim=-1)
    assert (ours(points()) - unit).abs().max() < GEOCLIP_AGREEMENT


@torch.no_grad()
def test_geoclip_in_float32_points_the_same_way(published, ours):
    whole = torch.nn.functional.normalize(published(points().float()), dim=-1)
    assert (ours(points()) * whole).sum(-1).min() > 0.999


@torch.no_grad()
def test_a_redrawn_middle_branch_loads_the_rest(published):
    torch.manual_seed(0)
    encoder = LocationEncoder(kind="equal_earth", sigmas=(1.0, 8.0, 256.0))
    own_draw = encoder.branches[1].frequency.clone()
    loaded = encoder.load_state_dict(geoclip_state(published.state_dict(), (True, False, True)), strict=False)
    assert loaded.missing_keys == ["branches.1.frequency"]
    assert not loaded.unexpected_keys
    assert torch.equal(encoder.branches[1].frequency, own_draw)
    assert torch.equal(encoder.branches[0].frequency, published.LocEnc0.capsule[0].b)
    assert torch.equal(encoder.branches[1].head.weight, published.LocEnc1.head[0].weight)
    assert torch.equal(encoder.branches[2].layers[4].weight, published.LocEnc2.capsule[5].weight)


def across(lat_deg, lon_deg):
    return torch.tensor([[lat_deg, lon_deg - SEAM_STEP_DEG], [lat_deg, lon_deg + SEAM_STEP_DEG]], dtype=torch.float64)


def wrapped(latlon_deg):
    latlon_deg[:, 1] = (latlon_deg[:, 1] + 180.0) % 360.0 - 180.0
    return latlon_deg


@torch.no_grad()
def test_the_sphere_has_no_seam():
    torch.manual_seed(0)
    encoder = LocationEncoder(kind="sphere", sigmas=(1.0, 4.0, 16.0), frequencies=128, hidden=256, embed_dim=256)
    for lat_deg in (-60.0, -17.0, 0.0, 66.0):
        west, east = encoder(wrapped(across(lat_deg, 180.0)))
        assert west @ east > 0.999
        whole_turn = across(lat_deg, 180.0) + torch.tensor([0.0, 360.0])
        assert torch.allclose(encoder(whole_turn), encoder(across(lat_deg, 180.0)), atol=1e-5)


@torch.no_grad()
def test_equal_earth_has_one(ours):
    for lat_deg in (-17.0, 0.0, 66.0):
        west, east = ours(wrapped(across(lat_deg, 180.0)))
        assert west @ east < 0.7
        assert torch.linalg.vecdot(*ours(across(lat_deg, 20.0))) > 0.999


def test_frequencies_are_no_parameters():
    encoder = LocationEncoder(kind="sphere", sigmas=(1.0,), frequencies=8, hidden=8, embed_dim=8)
    assert "branches.0.frequency" in encoder.state_dict()
    assert not any(name.endswith("frequency") for name, _ in encoder.named_parameters())


def test_degrees_in_double_tell_a_metre_apart():
    torch.manual_seed(0)
    encoder = LocationEncoder(kind="equal_earth", sigmas=(256.0,))
    here = torch.tensor([[48.8584, 179.0]], dtype=torch.float64)
    assert not torch.equal(encoder(here), encoder(here + torch.tensor([[0.0, 1.4e-5]], dtype=torch.float64)))
