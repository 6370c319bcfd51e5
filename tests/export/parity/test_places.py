"""The movement of places: a known step is measured as that step."""

import numpy as np
import pytest
import torch

from export.parity.reference import ParityReference, place_shift
from training.model.location_encoder import LocationEncoder
from vidtag_cli.geo.grid import equal_area_grid
from vidtag_cli.geo.sphere import destination_latlon

STEP_M = 5.0
ABOUT = 0.05
"""Embeddings are normalised again, and an encoder is not quite linear over metres."""


@pytest.fixture(scope="module")
def reference():
    torch.manual_seed(0)
    encoder = LocationEncoder(kind="sphere", sigmas=(1.0, 8.0, 256.0), hidden=256, embed_dim=128).eval()
    places = equal_area_grid(0.1, 48.85, 2.28, 48.87, 2.31)
    with torch.no_grad():
        embedding = encoder(torch.from_numpy(places)).numpy()
    return ParityReference({}, encoder, 14.0, places, embedding)


def embed(reference, places):
    with torch.no_grad():
        return reference.location_encoder(torch.from_numpy(places)).numpy()


def test_a_step_of_metres_is_measured_as_one(reference):
    places = reference.gallery_latlon_deg
    moved = destination_latlon(places, 30.0, STEP_M / 1000.0)
    shift = place_shift(reference, embed(reference, places), embed(reference, moved))
    assert shift.places == min(2000, len(places)) and shift.frames == len(places)
    assert shift.p50_m == pytest.approx(STEP_M, rel=ABOUT)
    assert shift.p50_m <= shift.p95_m <= shift.p99_m <= shift.max_m
    assert shift.best_place_changed == 0.0


def test_nothing_moves_nothing(reference):
    embedding = embed(reference, reference.gallery_latlon_deg[:5])
    shift = place_shift(reference, embedding, embedding)
    assert (shift.max_m, shift.best_place_changed, shift.frames) == (pytest.approx(0.0, abs=1e-6), 0.0, 5)
    assert shift.cosine_min == pytest.approx(1.0)


def test_a_wrong_chain_is_seen(reference):
    embedding = embed(reference, reference.gallery_latlon_deg[:5])
    noise = np.random.default_rng(0).normal(0.0, 0.05, embedding.shape).astype(np.float32)
    shift = place_shift(reference, embedding, embedding + noise)
    assert shift.p50_m > 10.0
    assert shift.best_place_changed > 0.1
