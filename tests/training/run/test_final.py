"""The grid over the regions of training (appendix D.1)."""

import numpy as np
import pytest

from training.run.final import reference_gallery, regions
from vidtag_cli.geo.nearest import nearest_neighbour

SPACING_KM = 1.0


def city(lat, lon, spread_deg=0.05, count=200):
    rng = np.random.default_rng(0)
    points = np.array([lat, lon]) + rng.uniform(-spread_deg, spread_deg, (count, 2))
    points[:, 1] = (points[:, 1] + 180.0) % 360.0 - 180.0
    return points


@pytest.mark.parametrize(("lat", "lon"), [(48.8, 2.3), (-17.0, 180.0), (70.0, -179.99), (0.0, 0.0)])
def test_every_place_of_training_is_near_the_grid(lat, lon):
    places = city(lat, lon)
    gallery = reference_gallery(places, SPACING_KM, padding_km=1.0)
    distance_km, _ = nearest_neighbour(places, gallery)
    assert distance_km.max() < SPACING_KM
    back_km, _ = nearest_neighbour(gallery, places)
    assert back_km.max() < 10.0
    assert len(gallery) < 30 * 30


def test_regions_far_apart_get_grids_of_their_own():
    places = np.concatenate([city(48.8, 2.3), city(35.7, 139.7)])
    assert [len(part) for part in regions(places)] == [200, 200]
    alone = [len(reference_gallery(city(*at), SPACING_KM, 1.0)) for at in ((48.8, 2.3), (35.7, 139.7))]
    assert len(reference_gallery(places, SPACING_KM, 1.0)) == sum(alone)


def test_a_city_known_by_its_centre_is_one_place():
    places = np.repeat([[48.8, 2.3], [35.7, 139.7]], 50, axis=0)
    assert np.array_equal(reference_gallery(places, SPACING_KM, 1.0), [[35.7, 139.7], [48.8, 2.3]])
