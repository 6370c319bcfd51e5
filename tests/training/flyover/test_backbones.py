"""The demo model's start: views of a place that find each other, and places fitted to what is seen there."""

import dataclasses

import numpy as np
import torch

from training.config import LocationTrainingConfig
from training.config_files import load_config
from training.flyover.backbones import BranchHeads, draw_views, learning_rate, retrieval_loss, target_shares
from training.flyover.features import FeatureStore
from training.flyover.flights import draw_flights
from training.flyover.locations import embed_frames, fit_locations
from training.model.backbones import build_conv_tower
from training.model.location_encoder import LocationEncoder
from vidtag_cli.geo.sphere import haversine_km

CONFIG = load_config("flyover")
TARGET_KM = 40.0


def test_both_views_show_the_same_places_under_other_headings():
    first, second = draw_views(CONFIG.flights, CONFIG.backbones, np.random.default_rng(1))
    count = CONFIG.backbones.groups * (1 + CONFIG.backbones.neighbours)
    assert first.latlon_deg.shape == second.latlon_deg.shape == (count, 1, 2)
    apart_km = haversine_km(first.latlon_deg, second.latlon_deg)
    assert 0.0 < apart_km.max() <= 15.0 + 1e-6
    turn_deg = np.abs((first.heading_deg - second.heading_deg + 180.0) % 360.0 - 180.0)
    assert turn_deg.mean() > 60.0  # two independent headings are 90 degrees apart on average
    among_km = haversine_km(first.latlon_deg, first.latlon_deg[:, 0])
    np.fill_diagonal(among_km, np.inf)
    assert (among_km.min(1) < 600.0).mean() > 0.9  # nearly every place has a neighbour to be told from


def test_more_steps_fall_from_the_full_rate_again_and_leave_the_first_ones_alone():
    alone = dataclasses.replace(CONFIG.backbones, steps=100, more_steps=0, warmup_steps=10)
    more = dataclasses.replace(alone, more_steps=50)
    first, both = (learning_rate(recipe) for recipe in (alone, more))
    assert [first(step) for step in range(100)] == [both(step) for step in range(100)]
    assert both(99) < 0.03
    assert max(both(step) for step in range(100, 150)) == both(109) > 0.8
    assert both(149) < 0.03


def test_the_target_is_a_gaussian_of_the_distance():
    here = np.array([[48.0, 11.0], [-17.5, 179.95], [65.0, -179.9]])
    there = np.array([[48.0, 11.2], [48.5, 11.0], [-17.5, -179.9], [65.0, 179.9], [0.0, 0.0]])
    weight = np.exp(-(haversine_km(here[:, None], there[None]) ** 2) / (2.0 * TARGET_KM**2))
    wanted = weight / weight.sum(1, keepdims=True)
    assert np.abs(target_shares(here, there, TARGET_KM).numpy() - wanted).max() < 1e-3  # the chord stands for the arc


def test_the_loss_is_zero_where_retrieval_gives_the_target_and_only_there():
    shares = torch.tensor([[0.7, 0.3, 0.0], [0.1, 0.1, 0.8]])
    logits = torch.log(shares.clamp(min=1e-30))
    answers = torch.eye(3)  # one-hot answers make the logits free
    assert float(retrieval_loss(logits, answers, shares, torch.tensor(1.0))) < 1e-6
    assert float(retrieval_loss(logits.roll(1, 1), answers, shares, torch.tensor(1.0))) > 1.0


def test_the_heads_do_not_mind_how_long_a_branch_is():
    heads = BranchHeads(6, 4, 8)
    features = torch.randn(5, 10)
    scaled = torch.cat([features[:, :6] * 3.0, features[:, 6:] * 0.25], dim=1)
    assert torch.allclose(heads.embed(features), heads.embed(scaled), atol=1e-6)


def test_the_tower_reads_where_in_the_picture_something_is():
    tower = build_conv_tower(embed_dim=24, image_size=40, channels=(8, 8, 8, 8)).eval()
    picture = torch.zeros(1, 3, 40, 40)
    picture[:, :, 4:8, 4:8] = 1.0
    here, there = tower(picture), tower(picture.roll((24, 24), (2, 3)))
    assert here.shape == (1, 24)
    assert not torch.allclose(here, there, atol=1e-3)


def test_places_are_fitted_to_what_is_seen_there(tmp_path):
    """Features that depend smoothly on the place: afterwards a frame finds its place among those of all flights."""
    torch.manual_seed(0)
    seen = LocationEncoder(kind="sphere", sigmas=(1.0,), frequencies=16, hidden=32, embed_dim=10)
    latlon = draw_flights(CONFIG.flights, 40, np.random.default_rng(0)).latlon_deg
    places = latlon.reshape(-1, 2)
    with torch.no_grad():
        features = seen(torch.from_numpy(places)).reshape(*latlon.shape[:2], -1)
    store = FeatureStore(features.half().numpy(), latlon, np.zeros(len(latlon), dtype=int))
    heads = BranchHeads(6, 4, 8)
    recipe = LocationTrainingConfig(steps=200, batch_places=256, learning_rate=3e-3, target_km=300.0)

    def fitted():
        encoder = LocationEncoder(kind="sphere", sigmas=(1.0, 4.0), frequencies=32, hidden=64, embed_dim=8)
        fit_locations(encoder, heads, store, recipe, tmp_path, seed=0)
        return encoder

    def error_km(encoder):
        with torch.no_grad():
            located = encoder(torch.from_numpy(places))
        best = (embed_frames(heads, store).float() @ located.T).argmax(1).numpy()
        return float(np.median(haversine_km(places[best], places)))

    before = error_km(LocationEncoder(kind="sphere", sigmas=(1.0, 4.0), frequencies=32, hidden=64, embed_dim=8))
    encoder = fitted()
    assert error_km(encoder) < before / 4.0
    again = fitted()  # resumed: nothing is left to do
    assert torch.equal(again.branches[0].head.weight, encoder.branches[0].head.weight)
