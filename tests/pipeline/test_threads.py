"""``--threads`` rules every library, and no answer depends on it, to the last bit."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits
from tiny_bundle import write_tiny_bundle

from vidtag_cli.gallery.build import build_gallery
from vidtag_cli.gallery.search import score_blocks
from vidtag_cli.gallery.store import GalleryOrigin
from vidtag_cli.pipeline.domain import DomainModel
from vidtag_cli.pipeline.path import PathRule, decode_path
from vidtag_cli.pipeline.session import open_session
from vidtag_cli.pipeline.threads import limit_threads

THREADS = (1, 2, 3, 5)


@pytest.fixture(autouse=True)
def _as_before():
    with threadpool_limits(None):
        yield


def test_every_library_uses_as_many_threads_as_asked():
    for threads in (3, 1):
        pools = limit_threads(threads)
        assert {pool.threads for pool in pools} == {threads}
        assert {info["num_threads"] for info in threadpool_info()} == {threads}
    assert limit_threads(None)


def test_a_session_says_which_threads_it_uses(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    session = open_session(write_tiny_bundle(tmp_path / "model"), threads=2)
    assert session.thread_pools
    assert {pool.threads for pool in session.thread_pools} == {2}
    assert {engine.describe()["threads"] for engine in session.engines.values()} == {2}


def answers(compute):
    """Return what a computation gives with every number of threads."""
    found = []
    for threads in THREADS:
        with threadpool_limits(threads):
            found.append(np.asarray(compute()))
    return found


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    rng = np.random.default_rng(0)
    latlon = np.stack([rng.uniform(-80, 80, 4099), rng.uniform(-179, 179, 4099)], axis=-1)
    vectors = rng.normal(size=(4099, 256)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    origin = GalleryOrigin("test", None, "test", "0" * 64)
    embed = lambda positions: vectors[: len(positions)]  # noqa: E731
    return build_gallery(tmp_path_factory.mktemp("g") / "g", latlon, embed, origin, wraps=True, cell_area_km2=1.0)


def scores_of(gallery, queries):
    return np.concatenate([scores for _, scores in score_blocks(gallery, queries)], axis=1)


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_scores_do_not_depend_on_threads_nor_on_how_many_frames_are_searched_at_once(gallery, count):
    queries = np.random.default_rng(1).normal(size=(64, 256)).astype(np.float32)
    for scores in (*answers(lambda: scores_of(gallery, queries[:count])), scores_of(gallery, queries)[:count]):
        np.testing.assert_array_equal(scores, scores_of(gallery, queries[:count]))


def test_domain_distances_do_not_depend_on_threads_nor_on_how_many_frames_there_are():
    rng = np.random.default_rng(2)
    domain = DomainModel(np.zeros(1792, np.float32), rng.normal(size=(1792, 1792)).astype(np.float32))
    features = rng.normal(size=(8, 1792)).astype(np.float32)
    together = domain.distance(features)
    for alone in answers(lambda: np.concatenate([domain.distance(row[None]) for row in features])):
        np.testing.assert_array_equal(alone, together)


def test_paths_do_not_depend_on_threads():
    rng = np.random.default_rng(3)
    latlon, masses = rng.uniform(-60, 60, (12, 128, 2)), rng.dirichlet(np.ones(128), 12)
    rule = PathRule(100.0, 200.0, 50.0, np.inf, np.inf, 1.0)
    first, *others = answers(lambda: decode_path(latlon, masses, 60.0 * np.arange(12), rule).doubt)
    for other in others:
        np.testing.assert_array_equal(other, first)
