"""Places merged on the sphere, probabilities that are shares of the whole posterior, and circles that hold a share of
it: against plain computations, across seams, never too small.
"""

import numpy as np
import pytest

from vidtag_cli.gallery.build import build_gallery
from vidtag_cli.gallery.contract import GalleryOrigin
from vidtag_cli.gallery.posterior import summarize_posterior
from vidtag_cli.geo.sphere import haversine_km, unit_vector
from vidtag_cli.pipeline.uncertainty import FARTHEST_KM, credible_radii_km, merge_places

BIN = 1.011
"""Distances are counted in bins one per cent wide and rounded up."""

CELL_KM2 = np.pi * 4.0
"""A disc of 2 km."""

SHARES = (0.5, 0.95)


def gallery_of(folder, latlon_deg):
    """Return a gallery whose embeddings are the points' own unit vectors."""
    origin = GalleryOrigin("test", None, "test", "0" * 64)
    embed = lambda positions: unit_vector(positions).astype(np.float32)  # noqa: E731
    return build_gallery(folder / "g", latlon_deg, embed, origin, wraps=True, cell_area_km2=CELL_KM2)


def radii(gallery, queries, centres, scale):
    queries = np.asarray(queries, np.float32)
    partition = summarize_posterior(gallery, queries, scale).log_partition
    return credible_radii_km(gallery, queries, np.asarray(centres, float), scale, partition, SHARES)


def scattered(count=3000, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([np.degrees(np.arcsin(rng.uniform(-1, 1, count))), rng.uniform(-180, 180, count)], -1)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize("centre", [(10.0, 20.0), (-17.0, 179.99), (89.9, 0.0)])
def test_equals_the_plain_definition(tmp_path, scale, centre):
    latlon = scattered()
    gallery = gallery_of(tmp_path, latlon)
    query = unit_vector(np.array([centre]))
    cosine = gallery.embeddings.astype(np.float64) @ query[0]
    weights = np.exp(scale * (cosine - cosine.max()))
    far_side_km = haversine_km(np.array(centre), gallery.latlon_deg) + 2.0
    order = np.argsort(far_side_km)
    share = np.cumsum(weights[order]) / weights.sum()
    for radius_km, level in zip(radii(gallery, query, [centre], scale)[0], SHARES, strict=True):
        exact = far_side_km[order][np.argmax(share >= level)]
        assert exact <= radius_km * (1 + 1e-6)
        assert radius_km <= min(exact * BIN, FARTHEST_KM)


def test_neighbours_across_the_antimeridian_are_near(tmp_path):
    latlon = np.array([[0.0, 179.9], [0.0, -179.9], [0.0, 0.0]])
    gallery = gallery_of(tmp_path, latlon)
    radii_km = radii(gallery, unit_vector(latlon[:1]), latlon[:1], 1000.0)
    assert radii_km.max() < 30.0


def test_a_single_certain_point_still_has_the_extent_of_its_cell(tmp_path):
    latlon = np.array([[0.0, 0.0], [0.0, 90.0]])
    radii_km = radii(gallery_of(tmp_path, latlon), unit_vector(latlon[:1]), latlon[:1], 1000.0)
    assert np.all((radii_km >= 2.0) & (radii_km <= 2.0 * BIN))


def test_a_flat_posterior_reaches_around_the_earth(tmp_path):
    half, most = radii(gallery_of(tmp_path, scattered()), [[0.0, 0.0, 1.0]], [[90.0, 0.0]], 1e-6)[0]
    quarter_km = FARTHEST_KM / 2.0
    assert 0.95 * quarter_km < half < 1.05 * quarter_km
    assert half < most <= FARTHEST_KM


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
