"""Places are merged by distance on the sphere, and their probabilities are shares of the whole posterior."""

import numpy as np
import pytest

from vidtag_cli.pipeline.domain import fit_domain_model
from vidtag_cli.pipeline.uncertainty import merge_places


def test_neighbours_add_their_mass_to_the_better_point():
    latlon = np.array([[10.0, 20.0], [10.1, 20.0], [50.0, 20.0]])
    places = merge_places(latlon, np.array([0.9, 0.8, 0.7]), np.array([0.5, 0.2, 0.1]), place_radius_km=100.0)
    assert [(place.lat_deg, round(place.probability, 6)) for place in places] == [(10.0, 0.7), (50.0, 0.1)]


def test_the_antimeridian_and_the_pole_do_not_part_neighbours():
    across = np.array([[0.0, 179.9], [0.0, -179.9]])
    assert len(merge_places(across, np.array([0.9, 0.8]), np.array([0.5, 0.5]), 100.0)) == 1
    around = np.array([[89.9, 0.0], [89.9, 180.0 - 360.0]])
    assert len(merge_places(around, np.array([0.9, 0.8]), np.array([0.5, 0.5]), 100.0)) == 1


def test_probability_is_not_normalised_over_the_places_returned():
    places = merge_places(np.array([[0.0, 0.0]]), np.array([0.9]), np.array([0.011]), 100.0)
    assert places[0].probability == pytest.approx(0.011)


def test_domain_distance_is_about_one_inside_and_large_outside():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(12, 12))
    inside = (rng.normal(size=(4000, 12)) @ mixing).astype(np.float32)
    domain = fit_domain_model(inside, shrinkage=1e-6)
    fresh = (rng.normal(size=(500, 12)) @ mixing).astype(np.float32)
    assert np.mean(domain.distance(fresh) ** 2) == pytest.approx(1.0, abs=0.1)  # 500 draws of a chi-square over 12
    outside = (rng.normal(size=(500, 12)) * np.abs(inside).max()).astype(np.float32)
    assert np.median(domain.distance(outside)) > 3.0
