"""A model without temporal modules: every frame by itself, whatever the batches, radii of its own posterior."""

import dataclasses
import shutil

import numpy as np
import pytest
from tiny_bundle import FRAME_SIZE_PX, reference
from tiny_geoclip_bundle import UNCALIBRATED, write_tiny_geoclip_bundle

from vidtag_cli.bundle.bundle_json import read_bundle_json, write_bundle_json
from vidtag_cli.bundle.contract import Calibration
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.errors import ModelError
from vidtag_cli.gallery.build import other_longitude
from vidtag_cli.pipeline.calibration import UNCALIBRATED as CAVEAT
from vidtag_cli.pipeline.limitations import ONE_SHOT, limitations_of
from vidtag_cli.pipeline.locate import embed_frames, encode_batches
from vidtag_cli.pipeline.path import search_for_path
from vidtag_cli.pipeline.session import location_embedder, open_session
from vidtag_cli.pipeline.uncertainty import estimate_points, rank_points, unit_rows
from vidtag_cli.video.batches import FrameBatch, FrameFacts, spread_levels

FLOAT32 = 1e-4  # values of order a hundred in float32
SCORE_ROUNDING = 1e-6  # cosines are rounded from float64 to float32; float16 would be off by 1e-4


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def open_one(**changes):
        return open_session(write_tiny_geoclip_bundle(tmp_path, **changes))

    return open_one


def frames(count):
    return np.random.default_rng(0).integers(0, 256, (count, FRAME_SIZE_PX, FRAME_SIZE_PX, 3), dtype=np.uint8)


def batch(rgb):
    spreads = spread_levels(rgb).tolist()
    return FrameBatch(rgb, tuple(FrameFacts(number, float(number), 0, spread) for number, spread in enumerate(spreads)))


def embed(session, *batches):
    return list(embed_frames(session, encode_batches(session, batches)))


@pytest.mark.parametrize("size", [1, 3, 20])
def test_batches_do_not_change_the_embeddings(session, size):
    rgb = frames(20)
    batches = [batch(rgb[begin : begin + size]) for begin in range(0, 20, size)]
    embedding = np.concatenate([part.outputs["refined_embedding"] for part in embed(session(), *batches)])
    np.testing.assert_allclose(
        embedding, reference("image_encoder", {"frames_rgb": rgb})["frame_embedding"], rtol=FLOAT32
    )


def estimates(session, rgb=None):
    (embedded,) = embed(session, batch(frames(3) if rgb is None else rgb))
    return estimate_points(session, embedded, top_k=5)


def test_one_frame_needs_no_other_to_confirm_it(session):
    sharp = UNCALIBRATED.parameters | {"posterior_scale": 1000.0}
    points = estimates(session(calibration=Calibration(sharp, {}, "Uncalibrated.", {})))
    assert [point.status for point in points] == ["ok"] * 3
    assert all(0.0 < point.radius50_m <= point.radius95_m for point in points)


def test_a_blank_picture_has_no_place_whatever_the_model_says(session):
    sharp = UNCALIBRATED.parameters | {"posterior_scale": 1000.0}
    opened = session(calibration=Calibration(sharp, {}, "Uncalibrated.", {}))
    rgb = frames(3)
    rgb[1] = 16 + rgb[1] // 128  # black, with the noise of a compressed video
    points = estimates(opened, rgb)
    assert [point.status for point in points] == ["ok", "abstained", "ok"]
    assert points[1].abstain_reason.startswith("blank picture (")
    (embedded,) = embed(opened, batch(rgb))
    assert search_for_path(opened, embedded).is_known.tolist() == [True, False, True]


def test_a_flat_posterior_names_no_place(session):
    """Half of a flat posterior over the four points lies within 1,900 km: a stricter limit must see it."""
    opened = session(calibration=Calibration(UNCALIBRATED.parameters | {"posterior_scale": 1e-3}, {}, "None.", {}))
    strict = dataclasses.replace(opened, rule=dataclasses.replace(opened.rule, max_radius50_km=1000.0))
    points = estimates(strict)
    assert [point.status for point in points] == ["abstained"] * 3
    assert all(point.abstain_reason.startswith("posterior too flat (") for point in points)


def limitations(session, is_one_shot=False):
    return limitations_of(session, is_one_shot=is_one_shot, are_frames_sparse=False)


def test_the_track_says_that_nothing_was_measured(session):
    opened = session()
    assert limitations(opened)[:2] == (opened.bundle.domain, CAVEAT)


def test_the_track_says_that_cuts_were_not_looked_for(session):
    opened = session()
    assert ONE_SHOT in limitations(opened, is_one_shot=True)
    assert ONE_SHOT not in limitations(opened)


def test_points_near_180_are_scored_under_both_longitudes(session):
    gallery = session().gallery
    assert gallery.alias_of.tolist() == [2, 3]
    np.testing.assert_allclose(gallery.latlon_deg[gallery.alias_of, 1], [179.999, -180.0])


def test_candidates_are_scored_by_what_the_encoder_gives_and_not_by_what_is_stored(session):
    """The scores of places are the cosines of unrounded embeddings; those of the stored ones are off by 1e-4."""
    opened = session()
    (embedded,) = embed(opened, batch(frames(3)))
    queries, _ = unit_rows(embedded.outputs["refined_embedding"])
    scores, indices, _ = rank_points(opened, queries, opened.rule.posterior_scale)
    gallery = opened.gallery
    places = np.concatenate([gallery.latlon_deg, other_longitude(gallery.latlon_deg[gallery.alias_of])])
    exact = location_embedder(opened.engines["location_encoder"])(places).astype(np.float64) @ queries.T
    expected = exact[: gallery.points].copy()
    expected[gallery.alias_of] = np.maximum(expected[gallery.alias_of], exact[gallery.points :])
    np.testing.assert_allclose(scores, np.take_along_axis(expected.T, indices, axis=1), atol=SCORE_ROUNDING)
    assert (np.diff(scores, axis=1) <= 0.0).all()


def test_a_gallery_that_was_changed_is_not_searched(session, tmp_path):
    """The evidence record names its hashes, so they are those of what was read."""
    opened = session()
    gallery = tmp_path / "mine"
    shutil.copytree(opened.gallery.path, gallery)
    model = opened.bundle.path
    assert open_session(model, gallery_path=gallery).gallery.points == opened.gallery.points
    changed = np.array(opened.gallery.embeddings)
    changed[0] = changed[1]
    np.save(gallery / "embeddings.npy", changed)
    with pytest.raises(ModelError, match=r"mine: embeddings\.npy is not the file that was written"):
        open_session(model, gallery_path=gallery)


def published_bundle(folder, embedding):
    bundle_dir = write_tiny_geoclip_bundle(folder)
    np.save(bundle_dir / "gallery_embedding.npy", embedding)
    contract = read_bundle_json(bundle_dir)
    files = contract.files | {"gallery_embedding.npy": sha256_of(bundle_dir / "gallery_embedding.npy")}
    write_bundle_json(bundle_dir, dataclasses.replace(contract, files=files))
    return bundle_dir


def test_embeddings_that_came_with_the_places_are_taken(session, tmp_path):
    """They decide what is stored and how candidates are scored; across the antimeridian the engine computes."""
    computed = session()
    width = computed.bundle.embedding_dim
    published = np.eye(computed.gallery.points, width, dtype=np.float32)
    opened = open_session(published_bundle(tmp_path / "published", published))
    stored = np.asarray(opened.gallery.embeddings[: opened.gallery.points], dtype=np.float32)
    np.testing.assert_array_equal(stored, published)
    _, indices, _ = rank_points(opened, published, opened.rule.posterior_scale)
    assert indices[:2, 0].tolist() == [0, 1]  # these two lie far from the antimeridian
    across = other_longitude(opened.gallery.latlon_deg[opened.gallery.alias_of])
    np.testing.assert_array_equal(opened.embed_places(across), computed.embed_places(across))


@pytest.mark.parametrize(("shape", "dtype"), [((3, 2), np.float32), ((4, 2), np.float64), ((4,), np.float32)])
def test_embeddings_of_another_shape_are_refused(tmp_path, shape, dtype):
    bundle_dir = published_bundle(tmp_path / "published", np.ones(shape, dtype))
    with pytest.raises(ModelError, match=r"gallery_embedding\.npy: expected float32 \(4, \d+\), found"):
        open_session(bundle_dir)
