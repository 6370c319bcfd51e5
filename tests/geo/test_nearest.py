"""The slab search against looking at every pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidtag_cli.geo.nearest import nearest_neighbour
from vidtag_cli.geo.sphere import haversine_km


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.booleans())
def test_agrees_with_every_pair(seed: int, count: int, polar: bool) -> None:
    rng = np.random.default_rng(seed)
    south, north = (80.0, 90.0) if polar else (-90.0, 90.0)
    among = np.stack([rng.uniform(south, north, count), rng.uniform(-180.0, 180.0, count)], axis=-1)
    queries = np.stack([rng.uniform(south, north, 30), rng.choice([-179.999, 179.999, 0.0], 30)], axis=-1)
    distance_km, index = nearest_neighbour(queries, among)
    expected = haversine_km(queries[:, None], among[None])
    np.testing.assert_allclose(distance_km, expected.min(axis=1), atol=1e-6)
    np.testing.assert_allclose(expected[np.arange(30), index], expected.min(axis=1), atol=1e-6)


def test_nothing_to_search_among() -> None:
    with pytest.raises(ValueError, match="no positions"):
        nearest_neighbour(np.zeros((1, 2)), np.zeros((0, 2)))
