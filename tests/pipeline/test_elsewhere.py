"""Belief in places that were not searched: it is counted, said, and makes frames abstain."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tiny_bundle import write_tiny_bundle

from vidtag_cli.errors import ModelError
from vidtag_cli.gallery.build import build_gallery
from vidtag_cli.gallery.posterior import sum_masses, summarize_posterior
from vidtag_cli.gallery.store import GalleryOrigin
from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.pipeline import locate
from vidtag_cli.pipeline.calibration import UncalibratedRule
from vidtag_cli.pipeline.elsewhere import FEW_POINTS, MAX_OUTSIDE_SHARE, MAX_OUTSIDE_SHARE_OF_FEW, outside_share
from vidtag_cli.pipeline.session import open_session
from vidtag_cli.pipeline.uncertainty import estimate_points
from vidtag_cli.pipeline.windows import EmbeddedFrames
from vidtag_cli.video.batches import FrameFacts

PARIS = (48.8584, 2.2945)
LAGOS = (6.45, 3.39)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def own(workshop):
    return open_session(write_tiny_bundle(workshop))


def among(workshop, own, name, latlon_deg, cell_area_km2=400.0):
    """Return a session of the same model that searches these places."""
    origin = GalleryOrigin(name, None, "tiny", own.bundle.graphs["location_encoder"].sha256)
    folder = workshop / name
    build_gallery(folder, np.array(latlon_deg), own.embed_places, origin, wraps=True, cell_area_km2=cell_area_km2)
    return open_session(own.bundle.path, gallery_path=folder)


@pytest.fixture(scope="module")
def french(workshop, own):
    rng = np.random.default_rng(0)
    return among(workshop, own, "france", PARIS + rng.uniform(-0.5, 0.5, (2 * FEW_POINTS, 2)))


def frames_at(session, latlon_deg):
    """Return one frame whose embedding is that of a place."""
    embedding = session.embed_places(np.array([latlon_deg])).astype(np.float32)
    nothing = np.ones(1, np.float32)
    outputs = {
        "first_embedding": embedding, "refined_embedding": embedding, "domain_distance": nothing,
        "disagreement_km": nothing,
    }  # fmt: skip
    return EmbeddedFrames((FrameFacts(0, 0.0, 0, 50.0),), outputs)


def sharp(session, scale=2000.0):
    return dataclasses.replace(session, rule=dataclasses.replace(session.rule, posterior_scale=scale))


def test_a_frame_of_another_country_abstains_and_one_of_this_country_does_not(french):
    (away,) = estimate_points(sharp(french), frames_at(french, LAGOS), 5)
    assert away.status == "abstained"
    assert away.abstain_reason == "the model's best place lies outside the places searched (99.9 % of its belief)"
    assert away.belief_outside > 0.99
    (home,) = estimate_points(sharp(french), frames_at(french, PARIS), 5)
    assert home.status == "ok"
    assert home.belief_outside < 0.01
    assert haversine_km(np.array(PARIS), np.array([home.lat_deg, home.lon_deg])) < 100.0


def test_without_a_chosen_gallery_nothing_changes(own):
    assert own.elsewhere is None
    assert own.own_gallery is own.gallery
    (point,) = estimate_points(sharp(own), frames_at(own, LAGOS), 5)
    assert (point.status, point.belief_outside) == ("ok", None)


def test_the_joint_posterior_is_that_of_all_points_by_their_areas(french):
    queries = french.embed_places(np.array([LAGOS, PARIS])).astype(np.float32)
    elsewhere = french.elsewhere
    logs = queries @ np.asarray(elsewhere.gallery.embeddings[: elsewhere.gallery.points], np.float32).T * 7.0
    logs = logs + elsewhere.gallery.log_cell_area()
    outside = elsewhere.is_outside
    assert outside.sum() == elsewhere.gallery.points - 1  # Paris itself is searched
    expected = np.log(np.exp(logs[:, outside]).sum(axis=1))
    np.testing.assert_allclose(elsewhere.log_partition(queries, 7.0), expected, rtol=1e-6)
    share = outside_share(np.log([1.0, 3.0]), np.log([1.0, 1.0]))
    np.testing.assert_allclose(share, [0.5, 0.25])


def test_all_points_together_are_the_whole_posterior(own):
    queries = own.embed_places(np.array([LAGOS, PARIS])).astype(np.float32)
    whole = summarize_posterior(own.gallery, queries, 7.0).log_partition
    np.testing.assert_allclose(sum_masses(own.gallery, queries, 7.0, own.gallery.log_cell_area()), whole, rtol=1e-6)
    nothing = np.full(own.gallery.points, -np.inf)
    assert (sum_masses(own.gallery, queries, 7.0, nothing) == -np.inf).all()


def test_probabilities_are_shares_of_all_belief(french):
    (point,) = estimate_points(sharp(french, 10.0), frames_at(french, PARIS), 5)
    places = point.candidates
    assert sum(place.probability for place in places) <= 1.0 - (point.belief_outside or 0.0) + 1e-6


def test_few_places_are_a_list_and_need_nearly_all_of_the_belief(workshop, own):
    few = among(workshop, own, "two", [PARIS, (48.9, 2.4)], 25.0)
    assert few.elsewhere.max_share(few.gallery.points) == MAX_OUTSIDE_SHARE_OF_FEW
    assert few.elsewhere.max_share(FEW_POINTS) == MAX_OUTSIDE_SHARE
    scale = next(
        scale for scale in np.geomspace(5.0, 500.0, 60)
        if 0.1 < estimate_points(sharp(few, scale), frames_at(few, PARIS), 5)[0].belief_outside < 0.4
    )  # fmt: skip
    (point,) = estimate_points(sharp(few, scale), frames_at(few, PARIS), 5)
    assert point.abstain_reason.startswith("the model's best place lies outside the places searched (")


def test_a_measured_radius_is_widened_by_the_way_to_the_place_that_is_given(workshop, own):
    north = among(workshop, own, "north", [(50.8, 2.3 + 1e-3 * number) for number in range(FEW_POINTS)])
    measured = sharp(own)
    (at_home,) = estimate_points(measured, frames_at(own, PARIS), 5)
    moved = dataclasses.replace(sharp(north), elsewhere=dataclasses.replace(
        north.elsewhere, is_outside=np.zeros(north.elsewhere.gallery.points, bool)
    ))  # fmt: skip
    (given,) = estimate_points(moved, frames_at(own, PARIS), 5)
    away_km = float(haversine_km(np.array(PARIS), np.array([given.lat_deg, given.lon_deg])))
    assert given.radius95_m == pytest.approx(at_home.radius95_m + 1000.0 * away_km, rel=1e-6)


@pytest.mark.parametrize("rule", [None, UncalibratedRule(2000.0, 100.0)])
def test_no_radius_is_smaller_than_what_a_point_stands_for(workshop, own, rule):
    coarse_km2 = 1.5e5
    name = f"coarse-{rule is None}"
    coarse = among(workshop, own, name, [PARIS, *((48.0, 2.0 + 0.01 * n) for n in range(FEW_POINTS))], coarse_km2)
    opened = sharp(coarse) if rule is None else dataclasses.replace(coarse, rule=rule)
    if rule is not None:
        opened = dataclasses.replace(opened, elsewhere=dataclasses.replace(coarse.elsewhere, radii=None))
    (point,) = estimate_points(opened, frames_at(coarse, PARIS), 5)
    assert point.radius50_m >= 1000.0 * np.sqrt(coarse_km2 / np.pi) * (1 - 1e-9)


def test_frames_agree_by_the_models_own_places(french, own, monkeypatch):
    """The first search and GeoRefiner see the same, whatever is searched for the answer."""
    features = np.random.default_rng(2).normal(size=(1, 6, own.bundle.feature_dim)).astype(np.float32)
    for name, values in locate.run_windows(own, features).items():
        np.testing.assert_array_equal(locate.run_windows(french, features)[name], values)


def test_a_gallery_of_another_width_is_refused(french):
    from vidtag_cli.pipeline.elsewhere import find_elsewhere

    odd = dataclasses.replace(
        french.gallery, contract=dataclasses.replace(french.gallery.contract, width=french.gallery.width + 1)
    )
    with pytest.raises(ModelError, match="its embeddings have"):
        find_elsewhere(french.elsewhere.gallery, odd, None)
