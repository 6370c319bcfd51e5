from __future__ import annotations

import numpy as np
import pytest

from vidtag_cli.geo.nearest import nearest_neighbour
from vidtag_cli.geo.within import is_within


@pytest.mark.parametrize("reach_km", [1.0, 40.0, 900.0, 15_000.0, 30_000.0])
def test_it_agrees_with_the_distance_to_the_nearest(reach_km):
    rng = np.random.default_rng(1)
    here = np.stack([np.rad2deg(np.arcsin(rng.uniform(-1, 1, 3000))), rng.uniform(-180, 180, 3000)], axis=-1)
    among = np.concatenate([here[:40] + rng.normal(0, 0.01, (40, 2)), [[89.99, 0.0], [0.0, 179.999], [-90.0, 5.0]]])
    distance_km, _ = nearest_neighbour(here, among)
    np.testing.assert_array_equal(is_within(here, among, reach_km), distance_km <= reach_km)


def test_across_the_antimeridian_and_at_a_place_itself():
    assert is_within(np.array([[10.0, -179.99], [10.0, 179.0], [45.0, 7.0]]), np.array([[10.0, 179.99], [45.0, 7.0]]),
                     5.0).tolist() == [True, False, True]  # fmt: skip
    assert is_within(np.array([[45.0, 7.0]]), np.array([[45.0, 7.0]]), 0.0).tolist() == [True]


def test_many_points_in_one_cell_are_all_looked_at():
    crowd = np.array([[50.0, 8.0 + 1e-4 * number] for number in range(500)])
    assert is_within(np.array([[50.0, 8.0499]]), crowd, 0.02).tolist() == [True]
    assert is_within(np.array([[50.0, 8.06]]), crowd, 0.02).tolist() == [False]
