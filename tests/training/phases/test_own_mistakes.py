"""Phase I's own places among the noise of Phase II."""

import numpy as np
import pytest
import torch
from small_training import CLIPS, FRAMES, RECIPE, SmallClips, small_model

from training.config import NoiseConfig
from training.features.clips import branch_features
from training.phases.execution import Execution
from training.phases.phase_two import OwnMistakes
from vidtag_cli.geo.sphere import haversine_km

JITTER_DEG = (0.001, 0.01)
JITTER_KM = 2.0  # 0.01 degrees along both axes are 1.6 km


@pytest.fixture(scope="module")
def model():
    return small_model().eval()


def put_among(model, own_share):
    """Return noisy positions before and after, and the batch they belong to."""
    clips, rng = SmallClips(), np.random.default_rng(4)
    batch = clips.batch(np.arange(CLIPS), rng, slice(None))
    noise = NoiseConfig(jitter_deg=JITTER_DEG, own_share=own_share)
    mistakes = OwnMistakes(model, clips, noise, RECIPE, Execution(), seed=3)
    with torch.no_grad():
        return batch.latlon_deg, mistakes.put_among(batch.latlon_deg, batch.features, slice(None), rng), batch, clips


def test_they_are_what_a_search_among_places_of_the_training_clips_finds(model):
    truth, noisy, batch, clips = put_among(model, 1.0)
    with torch.no_grad():
        embedding = model.embed_frames(branch_features(batch.features, slice(None)))[1].flatten(0, 1)
        places = torch.from_numpy(clips.latlon_deg.reshape(-1, 2))
        similar = (embedding @ model.location_encoder(places).T).numpy()
    far_km = haversine_km(noisy.reshape(-1, 1, 2), clips.latlon_deg.reshape(1, -1, 2))
    assert far_km.min(1).max() < JITTER_KM  # all are places of training clips
    # One place a clip is searched: what is found is better than most of all places.
    found = similar[np.arange(len(similar)), far_km.argmin(1)]
    assert (similar < found[:, None]).mean() > 0.8
    assert (haversine_km(noisy, truth) > JITTER_KM).mean() > 0.5  # a model that learned nothing is mostly wrong


def test_only_the_chosen_share_of_the_clips_is_replaced(model):
    truth, noisy, _, _ = put_among(model, 0.5)
    replaced = (noisy != truth).any((1, 2))
    assert 0.2 < replaced.mean() < 0.8
    assert noisy.shape == (CLIPS, FRAMES, 2)
    truth, noisy, _, _ = put_among(model, 0.0)
    assert (noisy == truth).all()
