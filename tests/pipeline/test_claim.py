"""Belief inside a claimed circle against the rest, by its plain definition; shots apart, repeats once."""

import numpy as np
import pytest

from vidtag_cli.gallery.build import build_gallery
from vidtag_cli.gallery.store import GalleryOrigin
from vidtag_cli.geo.sphere import haversine_km, unit_vector
from vidtag_cli.pipeline.claim import ShotStatistic, claim_log_ratios, clip_statistic, shot_statistics


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    rng = np.random.default_rng(0)
    latlon = np.stack([np.degrees(np.arcsin(rng.uniform(-1, 1, 3000))), rng.uniform(-180, 180, 3000)], -1)
    embed = lambda positions: unit_vector(positions).astype(np.float32)  # noqa: E731
    origin = GalleryOrigin("test", None, "test", "0" * 64)
    return build_gallery(tmp_path_factory.mktemp("g") / "g", latlon, embed, origin, wraps=True)


def query(lat, lon):
    return unit_vector(np.array([[lat, lon]])).astype(np.float32)


@pytest.mark.parametrize("scale", [1.0, 30.0, 9000.0])
@pytest.mark.parametrize("centre", [(10.0, 20.0), (-17.0, 179.99), (89.9, 0.0)])
def test_equals_the_plain_definition(gallery, scale, centre):
    centres = np.array([centre])
    inside = haversine_km(centres[0], gallery.latlon_deg) <= 1500.0
    logs = scale * (gallery.embeddings[: gallery.points].astype(np.float64) @ query(*centre)[0])
    area = np.broadcast_to(gallery.cell_area_km2, gallery.points)
    density = [
        np.logaddexp.reduce(logs[side] + np.log(area[side])) - np.log(area[side].sum()) for side in (inside, ~inside)
    ]
    frames = claim_log_ratios(gallery, query(*centre), scale, centres, 1500.0)
    assert frames.log_ratio == pytest.approx([density[0] - density[1]], rel=1e-4, abs=1e-3)
    assert not frames.took_nearest.any()


def test_a_true_claim_scores_above_a_false_one(gallery):
    both = np.array([[10.0, 20.0], [-10.0, -160.0]])
    right, wrong = claim_log_ratios(gallery, query(10, 20).repeat(2, axis=0), 30.0, both, 1000.0).log_ratio
    assert right > 2.0 > -20.0 > wrong


def test_a_circle_without_a_place_takes_the_nearest_and_says_so(gallery):
    near = gallery.latlon_deg[7] + [0.01, 0.0]
    frames = claim_log_ratios(gallery, query(*near), 1000.0, near[None], 0.001)
    assert frames.took_nearest.all()
    assert frames.log_ratio[0] > 1.0


def test_a_circle_that_holds_every_place_is_refused(gallery):
    with pytest.raises(ValueError, match="every place"):
        claim_log_ratios(gallery, query(0, 0), 30.0, np.zeros((1, 2)), 20100.0)


def test_each_shot_has_its_own_mean_and_the_least_speaks_for_the_clip():
    shots = shot_statistics(np.array([1.0, 4.0, -3.0]), np.array([1.0, 0.5, 1.0]), [0, 0, 2])
    assert shots == (ShotStatistic(0, 2.0, 2), ShotStatistic(2, -3.0, 1))
    assert clip_statistic(shots) == -3.0
