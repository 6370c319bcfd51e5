"""Places merged on the sphere, probabilities that are shares of the whole posterior, and circles that hold a share of
it: against plain computations, across seams, never too small.
"""

import dataclasses
import math

import numpy as np
import pytest
from tiny_bundle import write_tiny_bundle

from vidtag_cli.errors import ModelError
from vidtag_cli.gallery import search
from vidtag_cli.gallery.build import build_gallery
from vidtag_cli.gallery.posterior import PosteriorSummary, summarize_posterior
from vidtag_cli.gallery.store import GalleryOrigin
from vidtag_cli.geo.sphere import haversine_km, unit_vector
from vidtag_cli.pipeline.calibration import RadiusTable, UncalibratedRule, UncertaintyRule
from vidtag_cli.pipeline.path import search_for_path
from vidtag_cli.pipeline.session import open_session
from vidtag_cli.pipeline.uncertainty import (
    BLANK_SPREAD_LEVELS,
    FARTHEST_KM,
    MIN_FRAMES_TO_AGREE,
    SHORTEST_EMBEDDING,
    credible_radii_km,
    estimate_points,
    merge_places,
    posterior_radius_km,
    window_disagreement_km,
)
from vidtag_cli.pipeline.windows import EmbeddedFrames
from vidtag_cli.video.batches import FrameFacts

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


def test_a_gallery_of_many_blocks_has_the_circles_of_one_block(tmp_path, monkeypatch):
    """Every block has its own areas, places and cosines: cells of 1 to 100,000 km2 in no order."""
    areas_km2 = 10.0 ** np.random.default_rng(2).uniform(0.0, 5.0, 3000)
    gallery = dataclasses.replace(gallery_of(tmp_path, scattered()), cell_area_km2=areas_km2)
    centres = np.array([(10.0, 20.0), (-60.0, 179.0)])
    whole = radii(gallery, unit_vector(centres), centres, 5.0)
    monkeypatch.setattr(search, "BLOCK_BYTES", 700 * gallery.width * 4)
    np.testing.assert_array_equal(radii(gallery, unit_vector(centres), centres, 5.0), whole)


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


def test_the_radius_of_a_posterior_is_that_of_a_disc_as_large():
    areas_km2 = np.pi * np.array([1.0, 4.0, 900.0])
    nothing = np.zeros(3)
    radius_km = posterior_radius_km(PosteriorSummary(nothing, nothing, nothing, areas_km2))
    np.testing.assert_allclose(radius_km, [1.0, 2.0, 30.0])


def test_a_frame_disagrees_by_the_median_distance_of_the_others():
    places = np.array([(0.0, 0.0), (0.0, 1.0), (0.0, 3.0), (0.0, 10.0)])
    degree_km = float(haversine_km(places[0], places[1]))
    np.testing.assert_allclose(window_disagreement_km(places) / degree_km, [3.0, 2.0, 3.0, 9.0], rtol=1e-6)


def test_four_frames_can_confirm_each_other_and_three_cannot():
    places = np.zeros((MIN_FRAMES_TO_AGREE, 2))
    assert MIN_FRAMES_TO_AGREE == 4
    assert window_disagreement_km(places).tolist() == [0.0] * 4
    assert window_disagreement_km(places[1:]).tolist() == [math.inf] * 3
    assert window_disagreement_km(places[:0]).shape == (0,)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return open_session(write_tiny_bundle(tmp_path_factory.mktemp("model")))


MEASURED = UncertaintyRule(
    posterior_scale=1000.0, place_radius_km=100.0, max_domain_distance=2.0, max_disagreement_km=700.0,
    max_radius95_km=400.0, radii=RadiusTable((), (60.0,), (400.0,)),
)  # fmt: skip
FREE = UncalibratedRule(1000.0, 100.0)


def frame_at_a_place(session, spread_levels=50.0, length=1.0, domain_distance=1.0, disagreement_km=10.0):
    """Return two frames that point at the first place of the gallery: a good one, and one with what is given."""
    place = np.asarray(session.gallery.embeddings[0], np.float32)
    embedding = np.stack([place, length * place]).astype(np.float32)
    outputs = {
        "first_embedding": embedding,
        "refined_embedding": embedding,
        "domain_distance": np.array([1.0, domain_distance], np.float32),
        "disagreement_km": np.array([10.0, disagreement_km], np.float32),
    }
    return EmbeddedFrames((FrameFacts(0, 0.0, 0, 50.0), FrameFacts(7, 1.5, 1, spread_levels)), outputs)


def estimate(session, rule, **doubt):
    good, point = estimate_points(dataclasses.replace(session, rule=rule), frame_at_a_place(session, **doubt), 5)
    assert good.status == "ok"
    return point


@pytest.mark.parametrize("rule", [MEASURED, FREE])
def test_a_frame_without_doubt_has_the_place_it_points_at(session, rule):
    point = estimate(session, rule)
    assert (point.frame_index, point.media_time_s, point.shot, point.status) == (7, 1.5, 1, "ok")
    assert (point.lat_deg, point.lon_deg) == tuple(session.gallery.latlon_deg[0])
    assert 0.99 < point.confidence <= 1.0
    assert point.confidence == point.candidates[0].probability
    assert point.candidates[0].score == pytest.approx(1.0, abs=1e-3)
    if rule is MEASURED:
        assert (point.radius50_m, point.radius95_m) == (60_000.0, 400_000.0)


LIMITS = [
    ("spread_levels", BLANK_SPREAD_LEVELS, -0.01, "blank picture (pixels differ by 2.0 levels, limit 2)"),
    (
        "length",
        SHORTEST_EMBEDDING * 1.01,
        -2e-5,
        "no answer of the model (its windows cancel out to a length of 0.001)",
    ),
    ("domain_distance", 2.0, 0.01, "outside the model's domain (distance 2.01, limit 2.00)"),
    ("disagreement_km", 700.0, 1.0, "frames disagree (median distance 701 km, limit 700 km)"),
    ("disagreement_km", 700.0, math.inf, "too few frames to confirm each other (fewer than 4)"),
]


@pytest.mark.parametrize(("doubt", "limit", "step", "reason"), LIMITS)
def test_what_is_at_a_limit_is_located_and_what_is_beyond_is_not(session, doubt, limit, step, reason):
    assert estimate(session, MEASURED, **{doubt: limit}).status == "ok"
    point = estimate(session, MEASURED, **{doubt: limit + step})
    assert (point.frame_index, point.media_time_s, point.shot) == (7, 1.5, 1)
    assert (point.status, point.abstain_reason) == ("abstained", reason)
    assert (point.lat_deg, point.radius95_m, point.confidence, point.candidates) == (None, None, None, ())


@pytest.mark.parametrize("doubt", ["spread_levels", "length", "domain_distance", "disagreement_km"])
def test_what_is_no_number_is_within_no_limit(session, doubt):
    """NaN compares false with everything: no check may be written so that this switches it off."""
    embedded = frame_at_a_place(session, **{doubt: math.nan})
    opened = dataclasses.replace(session, rule=MEASURED)
    assert [point.status for point in estimate_points(opened, embedded, 5)] == ["ok", "abstained"]
    assert search_for_path(opened, embedded).is_known.tolist() == [True, False]


def test_without_a_calibration_only_the_picture_and_the_posterior_count(session):
    assert estimate(session, FREE, domain_distance=1e9, disagreement_km=math.inf).status == "ok"
    assert estimate(session, FREE, spread_levels=1.0).abstain_reason.startswith("blank picture")
    assert estimate(session, FREE, length=0.0).abstain_reason.startswith("no answer")


def test_a_posterior_as_wide_as_the_limit_names_a_place_and_a_wider_one_does_not(session):
    flat = UncalibratedRule(0.5, 100.0)
    radius50_km = estimate(session, dataclasses.replace(flat, max_radius50_km=math.inf)).radius50_m / 1000.0
    assert estimate(session, dataclasses.replace(flat, max_radius50_km=radius50_km)).status == "ok"
    strict = dataclasses.replace(session, rule=dataclasses.replace(flat, max_radius50_km=0.999 * radius50_km))
    _, point = estimate_points(strict, frame_at_a_place(session), 5)
    assert point.abstain_reason.startswith(f"posterior too flat (half of it within {radius50_km:.0f} km, limit")


def test_a_frame_wider_than_the_models_limit_abstains(session):
    wide = dataclasses.replace(MEASURED, radii=RadiusTable((), (60.0,), (400.5,)))
    with pytest.raises(AssertionError):
        estimate(session, wide)
    _, point = estimate_points(dataclasses.replace(session, rule=wide), frame_at_a_place(session), 5)
    assert point.abstain_reason == "too uncertain (95 % radius 400 km, limit 400 km)"


def test_a_path_starts_from_the_first_search_and_knows_what_speaks_against_a_frame(session):
    rule = dataclasses.replace(MEASURED, path=None)
    opened = dataclasses.replace(session, rule=rule)
    searched = search_for_path(opened, frame_at_a_place(session, disagreement_km=700.5))
    assert searched.is_known.tolist() == [True, True]
    assert searched.agrees.tolist() == [True, False]
    assert search_for_path(opened, frame_at_a_place(session, disagreement_km=700.0)).agrees.tolist() == [True, True]
    assert searched.indices[:, 0].tolist() == [0, 0]
    assert searched.masses[:, 0] == pytest.approx(1.0, abs=1e-2)
    assert (searched.indices.dtype, searched.scores.dtype, searched.masses.dtype) == (np.int32, np.float32, np.float32)
    assert search_for_path(dataclasses.replace(session, rule=FREE), frame_at_a_place(session)).agrees.all()


def test_a_search_that_gives_no_numbers_names_the_gallery(session, monkeypatch):
    """Whatever made them: one such point would be the best of all, and its frame certain."""
    from vidtag_cli.pipeline import uncertainty

    search = uncertainty.search_with_posterior

    def spoil(*args):
        scores, indices, summary = search(*args)
        return scores, indices, dataclasses.replace(summary, log_partition=summary.log_partition * math.nan)

    monkeypatch.setattr(uncertainty, "search_with_posterior", spoil)
    with pytest.raises(ModelError, match="gallery default gallery of tiny: .* not finite"):
        estimate_points(session, frame_at_a_place(session), 5)


def test_as_many_places_as_were_asked_for(session):
    rule = dataclasses.replace(MEASURED, posterior_scale=0.1)
    opened = dataclasses.replace(session, rule=rule)
    for top_k in (1, 2, 3):
        assert len(estimate_points(opened, frame_at_a_place(session), top_k)[0].candidates) == top_k
