"""Search and posterior against numpy over every row, at the seam, with ties, in many blocks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pytest

from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.errors import ModelError
from vidtag_cli.gallery import posterior, search
from vidtag_cli.gallery.posterior import (
    point_mass,
    search_with_posterior,
    summarize_posterior,
)
from vidtag_cli.gallery.search import search_gallery
from vidtag_cli.gallery.store import Gallery, open_gallery
from vidtag_cli.geo.grid import equal_area_grid
from vidtag_cli.geo.sphere import haversine_km

Embed = Callable[[np.ndarray], np.ndarray]

SCORE_TOLERANCE = 1e-6
"""Search scores are rounded from float64 to float32."""

POSTERIOR_TOLERANCE = 1e-4
"""Logits are float32: at a scale of 60 their rounding moves a weight by 60 x 6e-8, and a sum of many by less."""

SCALE = 60.0
WIDE_SCALE = 10.0


@pytest.fixture(params=["resident", "streamed"])
def memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of reading a gallery, in blocks of 100 rows so that a small one has many."""
    monkeypatch.setattr(search, "BLOCK_BYTES", 100 * 48 * 4)
    monkeypatch.setattr(search, "RESIDENT_BYTES", 1 << 30 if request.param == "resident" else 0)
    monkeypatch.setattr(posterior, "TILE_BYTES", 0)
    monkeypatch.setattr(posterior, "MIN_TILE_POINTS", 60)
    return request.param


@pytest.fixture
def gallery(build: Callable[..., Gallery], embed_plane: Embed) -> Gallery:
    """Places all over the Earth; 24 of them lie so near 180 degrees that they have two longitudes."""
    lat_deg = np.linspace(-80.0, 80.0, 24)
    seam = np.stack([lat_deg, np.where(np.arange(24) % 2, 179.9, -179.9)], axis=-1)
    return build(np.concatenate([seam, equal_area_grid(500.0)]), embed_plane, wraps=False, cell_area_km2=500.0**2)


@pytest.fixture
def queries(gallery: Gallery) -> np.ndarray:
    rng = np.random.default_rng(5)
    noisy = gallery.embeddings[rng.integers(0, len(gallery.embeddings), 37)].astype(np.float32)
    noisy += rng.normal(scale=0.1, size=noisy.shape).astype(np.float32)
    return noisy / np.linalg.norm(noisy, axis=1, keepdims=True)


def every_score(gallery: Gallery, queries: np.ndarray) -> np.ndarray:
    """(N, G) float64, the better of two longitudes, without any of the code under test."""
    scores = queries.astype(np.float64) @ gallery.embeddings.astype(np.float64).T
    best = scores[:, : gallery.points].copy()
    for i, point in enumerate(gallery.alias_of):
        best[:, point] = np.maximum(best[:, point], scores[:, gallery.points + i])
    return best


@pytest.mark.parametrize("k", [1, 5, 200])
def test_search_is_brute_force(memory: str, gallery: Gallery, queries: np.ndarray, k: int) -> None:
    scores, indices = search_gallery(gallery, queries, k)
    expected = every_score(gallery, queries)
    order = np.argsort(-expected, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(scores, np.take_along_axis(expected, order, axis=1), atol=SCORE_TOLERANCE)
    assert (scores.dtype, indices.dtype, scores.shape) == (np.float32, np.int64, (37, k))


def test_more_than_the_gallery_holds_gives_all_of_it(build: Callable[..., Gallery], embed_plane: Embed) -> None:
    gallery = build(np.array([[1.0, 179.9], [2.0, -179.9], [3.0, 0.0]]), embed_plane, wraps=False)
    scores, indices = search_gallery(gallery, gallery.embeddings[:1].astype(np.float32), 10)
    assert indices.shape == (1, 3)
    assert sorted(indices[0]) == [0, 1, 2]
    assert (np.diff(scores[0]) <= 0.0).all()


def test_no_query_is_no_answer(gallery: Gallery) -> None:
    scores, indices = search_gallery(gallery, np.zeros((0, gallery.width), np.float32), 3)
    assert scores.shape == indices.shape == (0, 3)


@pytest.mark.parametrize("k", [1, 7, 40])
def test_ties_come_in_order_of_index(memory: str, build: Callable[..., Gallery], k: int) -> None:
    directions = np.eye(48, dtype=np.float32)

    def two_places(latlon_deg: np.ndarray) -> np.ndarray:
        return directions[(np.arange(len(latlon_deg)) % 3 == 1).astype(int)]

    gallery = build(equal_area_grid(900.0), two_places, wraps=True, batch=100_000)
    _, indices = search_gallery(gallery, directions[1:2], k)
    assert indices[0].tolist() == [1 + 3 * i for i in range(k)]


def test_a_row_that_the_first_pass_rounded_away_is_fetched(gallery: Gallery, queries: np.ndarray, monkeypatch) -> None:
    """The first pass adds up in another order: a better row may stand just below the last that it gives."""
    expected, best = search_gallery(gallery, queries, 1)
    fetch_rows, passes = search._fetch_rows, []

    def rounded(gallery: Gallery, queries: np.ndarray, fetch: int) -> tuple[np.ndarray, np.ndarray]:
        passes.append(fetch)
        rows, lowest = fetch_rows(gallery, queries, fetch)
        if len(passes) > 1:
            return rows, lowest
        without_best = np.stack([row[row != point][: fetch - 1] for row, point in zip(rows, best[:, 0], strict=True)])
        last = search.best_points(gallery, queries, without_best, 1)[0][:, -1]
        return without_best, last - np.float32(search.TIE_MARGIN / 2)

    monkeypatch.setattr(search, "_fetch_rows", rounded)
    scores, indices = search_gallery(gallery, queries, 1)
    assert len(passes) > 1
    np.testing.assert_array_equal(indices, best)
    np.testing.assert_array_equal(scores, expected)


def test_a_point_at_the_seam_is_found_from_both_sides_and_once(
    memory: str, build: Callable[..., Gallery], embed_plane: Embed
) -> None:
    grid = equal_area_grid(20.0, -18.0, 178.0, -15.0, -178.0)
    plain = build(grid, embed_plane, wraps=True, name="plain")
    gallery = build(grid, embed_plane, wraps=False)
    west_of_seam = np.array([[-16.8, -179.99]])
    query = embed_plane(west_of_seam)
    scores, indices = search_gallery(gallery, query, 60)
    assert len(set(indices[0])) == 60
    distance_km = haversine_km(west_of_seam, gallery.latlon_deg[indices[0, :8]])
    assert (distance_km < 60.0).all()
    assert (gallery.latlon_deg[indices[0, :8], 1] > 0.0).any()  # neighbours on the other side count as neighbours
    # Without the second longitude, they do not: this is what the rows are for.
    best_plain = search_gallery(plain, query, 8)[1][0]
    assert (plain.latlon_deg[best_plain, 1] > 0.0).sum() < (gallery.latlon_deg[indices[0, :8], 1] > 0.0).sum()


def test_queries_that_do_not_fit_are_refused(gallery: Gallery) -> None:
    with pytest.raises(ModelError, match="width"):
        search_gallery(gallery, np.zeros((1, 7), np.float32), 1)


SEARCHES = {
    "search": lambda gallery, queries: search_gallery(gallery, queries, 3),
    "posterior": lambda gallery, queries: summarize_posterior(gallery, queries, SCALE),
    "one pass": lambda gallery, queries: search_with_posterior(gallery, queries, 3, SCALE),
}


@pytest.mark.parametrize("ask", SEARCHES.values(), ids=SEARCHES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e30], ids=str)
def test_a_query_that_points_nowhere_is_refused_with_its_number(gallery: Gallery, ask, value: float) -> None:
    queries = gallery.embeddings[:5].astype(np.float32)
    queries[3] = value
    with pytest.raises(ModelError, match="the embedding of frame 3 of 5"):
        ask(gallery, queries)
    queries[3] = 0.0
    queries[3, 7] = value
    with pytest.raises(ModelError, match="the embedding of frame 3 of 5"):
        ask(gallery, queries)


def with_row(gallery: Gallery, row: int, values: np.ndarray) -> Gallery:
    """The gallery with another row in its file and the note made to fit, as one who means harm would do it."""
    embeddings = np.array(gallery.embeddings)
    embeddings[row] = values
    file, note = gallery.path / "embeddings.npy", gallery.path / "gallery.json"
    file.unlink()  # the gallery has the earlier one mapped
    np.save(file, embeddings)
    content = json.loads(note.read_text())
    content["files"][file.name]["sha256"] = sha256_of(file)
    note.write_text(json.dumps(content))
    return open_gallery(gallery.path, gallery.contract.origin.location_encoder_sha256, verify=True)


def one_entry(value: float) -> np.ndarray:
    return np.eye(1, 48, 5)[0] * value


@pytest.mark.parametrize("ask", SEARCHES.values(), ids=SEARCHES)
@pytest.mark.parametrize(
    "values",
    [np.full(48, np.nan), np.full(48, np.inf), np.zeros(48), one_entry(np.nan), one_entry(1.02), one_entry(0.98)],
    ids=["NaN", "infinity", "zeros", "one NaN", "too long", "too short"],
)
def test_a_row_that_is_no_unit_vector_is_refused_with_its_number(
    memory: str, gallery: Gallery, queries: np.ndarray, ask, values: np.ndarray
) -> None:
    for row in (0, 777, len(gallery.embeddings) - 1):  # the last one is a second longitude
        odd = with_row(gallery, row, values)
        for _ in range(2):  # not only the first time
            with pytest.raises(ModelError, match=rf"embeddings\.npy: row {row} has the length"):
                ask(odd, queries)


def test_a_row_is_checked_once(memory: str, gallery: Gallery, queries: np.ndarray, monkeypatch) -> None:
    rows = []
    first_odd_row = search.first_odd_row
    monkeypatch.setattr(search, "first_odd_row", lambda block: rows.append(len(block)) or first_odd_row(block))
    for _ in range(2):
        search_with_posterior(gallery, queries, 3, SCALE)
        search_gallery(gallery, queries, 3)
    assert sum(rows) < 2 * len(gallery.embeddings)


def test_the_posterior_is_brute_force(memory: str, gallery: Gallery, queries: np.ndarray) -> None:
    log_area = np.random.default_rng(1).normal(size=gallery.points)
    gallery = dataclasses.replace(gallery, cell_area_km2=np.exp(log_area))
    summary = summarize_posterior(gallery, queries, SCALE)
    cosines = every_score(gallery, queries)
    weights = np.exp(SCALE * cosines + log_area)
    probability = weights / weights.sum(axis=1, keepdims=True)
    entropy = -(probability * np.log(probability / np.exp(log_area))).sum(axis=1)
    np.testing.assert_allclose(summary.log_partition, np.log(weights.sum(axis=1)), atol=POSTERIOR_TOLERANCE)
    np.testing.assert_allclose(summary.entropy_nat, entropy, atol=10 * POSTERIOR_TOLERANCE)
    np.testing.assert_allclose(summary.effective_area_km2, np.exp(entropy), rtol=10 * POSTERIOR_TOLERANCE)
    np.testing.assert_allclose(summary.best_score, cosines.max(axis=1), atol=SCORE_TOLERANCE)


def test_the_effective_area_does_not_depend_on_how_finely_the_globe_is_cut(
    build: Callable[..., Gallery], embed_sphere: Embed
) -> None:
    query = embed_sphere(np.array([[20.0, 30.0]]))
    areas = [
        summarize_posterior(
            build(equal_area_grid(spacing), embed_sphere, wraps=True, name=str(spacing), cell_area_km2=spacing**2),
            query,
            WIDE_SCALE,
        ).effective_area_km2[0]
        for spacing in (200.0, 100.0)
    ]
    # The sums are Riemann sums of one integral; the peak covers tens of the coarse cells.
    assert areas[0] == pytest.approx(areas[1], rel=0.1)


def test_a_flat_posterior_has_the_area_of_the_gallery(gallery: Gallery, queries: np.ndarray) -> None:
    summary = summarize_posterior(gallery, queries, 0.0)
    np.testing.assert_allclose(summary.effective_area_km2, gallery.points * 500.0**2, rtol=POSTERIOR_TOLERANCE)


def test_masses_are_shares_of_the_whole_gallery(memory: str, gallery: Gallery, queries: np.ndarray) -> None:
    summary = summarize_posterior(gallery, queries, SCALE)
    scores, indices = search_gallery(gallery, queries, gallery.points)
    mass = point_mass(gallery, scores, indices, SCALE, summary.log_partition)
    np.testing.assert_allclose(mass.sum(axis=1), 1.0, rtol=POSTERIOR_TOLERANCE)
    # The k best of many places hold less than everything: a softmax over them alone would say 1.
    wide = summarize_posterior(gallery, queries, WIDE_SCALE)
    assert (point_mass(gallery, scores[:, :3], indices[:, :3], WIDE_SCALE, wide.log_partition).sum(axis=1) < 0.9).all()


@pytest.mark.parametrize("k", [1, 40, 5000])
def test_one_pass_gives_what_two_passes_give(memory: str, gallery: Gallery, queries: np.ndarray, k: int) -> None:
    scores, indices, summary = search_with_posterior(gallery, queries, k, SCALE)
    expected_scores, expected_indices = search_gallery(gallery, queries, k)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_array_equal(scores, expected_scores)
    expected = summarize_posterior(gallery, queries, SCALE)
    for name in ("log_partition", "best_score", "entropy_nat", "effective_area_km2"):
        np.testing.assert_array_equal(getattr(summary, name), getattr(expected, name))


def test_one_pass_keeps_ties_in_order_of_index(memory: str, build: Callable[..., Gallery]) -> None:
    """More equal points than are fetched: the pass alone cannot know which of them come first."""
    directions = np.eye(48, dtype=np.float32)

    def two_places(latlon_deg: np.ndarray) -> np.ndarray:
        return directions[(np.arange(len(latlon_deg)) % 3 == 1).astype(int)]

    gallery = build(equal_area_grid(900.0), two_places, wraps=True, batch=100_000)
    _, indices, _ = search_with_posterior(gallery, directions[1:2], 7, SCALE)
    assert indices[0].tolist() == [1 + 3 * i for i in range(7)]


def test_the_best_point_counts_once_at_the_seam(memory: str, build: Callable[..., Gallery], embed_plane: Embed) -> None:
    gallery = build(equal_area_grid(20.0, -18.0, 178.0, -15.0, -178.0), embed_plane, wraps=False)
    query = embed_plane(np.array([[-16.8, -179.99]]))
    scores, indices, _ = search_with_posterior(gallery, query, 60, SCALE)
    expected_scores, expected_indices = search_gallery(gallery, query, 60)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_array_equal(scores, expected_scores)


def test_what_is_left_out_of_the_sums_is_below_their_rounding(
    memory: str, gallery: Gallery, queries: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    steep = 400.0  # most tiles are negligible
    quick = summarize_posterior(gallery, queries, steep)
    monkeypatch.setattr(posterior, "NEGLIGIBLE_LOG_WEIGHT", -np.inf)
    complete = summarize_posterior(gallery, queries, steep)
    np.testing.assert_allclose(quick.log_partition, complete.log_partition, rtol=0, atol=POSTERIOR_TOLERANCE)
    np.testing.assert_allclose(quick.entropy_nat, complete.entropy_nat, rtol=0, atol=10 * POSTERIOR_TOLERANCE)


def test_a_later_tile_counts_however_large_the_cells_are() -> None:
    """What is negligible is so beside the largest weight, areas included: 1,000 points of exp(-11) are not."""
    log_area = np.full(1001, np.log(3e6))
    sums = posterior._PosteriorSums(1, 11.0, log_area)
    sums.add(0, np.ones((1, 1), np.float32))
    sums.add(1, np.zeros((1, 1000), np.float32))
    expected = 11.0 + np.log(3e6) + np.log1p(1000.0 * np.exp(-11.0))
    np.testing.assert_allclose(sums.log_partition(), expected, atol=POSTERIOR_TOLERANCE)


def test_two_runs_agree_to_the_last_bit(gallery: Gallery, queries: np.ndarray) -> None:
    one, other = (search_with_posterior(gallery, queries, 20, SCALE) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])
    np.testing.assert_array_equal(one[2].log_partition, other[2].log_partition)
    np.testing.assert_array_equal(one[2].entropy_nat, other[2].entropy_nat)


def test_candidates_do_not_pile_up(gallery: Gallery, queries: np.ndarray) -> None:
    """Whatever the size of the gallery, only about as many points are held as are fetched."""
    top = posterior._TopCandidates(1, 10)
    rising = np.linspace(-1.0, 1.0, 5000, dtype=np.float32)
    for start in range(0, 5000, 15):
        top.add(start, rising[None, start : start + 15])
        assert sum(map(len, top._points[0])) <= 35
        assert start < 30 or top.bound[0] >= rising[start - 25]
    np.testing.assert_array_equal(top.points(0)[-10:], np.arange(4990, 5000))


def test_rows_and_points_name_each_other(gallery: Gallery) -> None:
    assert len(gallery.alias_of) >= 24
    rows = np.arange(len(gallery.embeddings))
    owner = np.concatenate([np.arange(gallery.points), gallery.alias_of])
    np.testing.assert_array_equal(search.point_of_row(gallery, rows), owner)
    for points in (gallery.alias_of, gallery.alias_of[:1], np.setdiff1d(rows[: gallery.points], gallery.alias_of)):
        np.testing.assert_array_equal(search.rows_of_points(gallery, points), np.flatnonzero(np.isin(owner, points)))


@pytest.mark.parametrize("rows", [None, 70])
def test_the_blocks_of_scores_are_all_scores(memory: str, gallery: Gallery, queries: np.ndarray, rows) -> None:
    blocks = list(search.score_blocks(gallery, queries, rows))
    assert [start for start, _ in blocks] == list(np.cumsum([0, *(scores.shape[1] for _, scores in blocks[:-1])]))
    scores = np.concatenate([scores for _, scores in blocks], axis=1)
    np.testing.assert_allclose(scores, every_score(gallery, queries), atol=SCORE_TOLERANCE)


def test_no_mass_is_more_than_all(gallery: Gallery, queries: np.ndarray) -> None:
    scores, indices = search_gallery(gallery, queries[:1], 1)
    log_z = summarize_posterior(gallery, queries[:1], SCALE).log_partition
    assert point_mass(gallery, scores, indices, SCALE, log_z - 20.0).tolist() == [[1.0]]
