"""The order of the best points does not hang on the rounding of stored embeddings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vidtag_cli.errors import ModelError
from vidtag_cli.gallery.search import rescore_points, search_gallery
from vidtag_cli.gallery.store import Gallery
from vidtag_cli.geo.grid import equal_area_grid

Embed = Callable[[np.ndarray], np.ndarray]

SCORE_TOLERANCE = 1e-6
"""Scores are rounded from float64 to float32."""


def unrounded_scores(gallery: Gallery, queries: np.ndarray, embed: Embed) -> np.ndarray:
    """(N, G) float64 from embeddings as the encoder gives them, the better of two longitudes."""
    every = [embed(np.asarray(gallery.latlon_deg) + [0.0, turn]).astype(np.float64) for turn in (-360.0, 0.0, 360.0)]
    west, plain, east = (queries.astype(np.float64) @ embedding.T for embedding in every)
    aliased = np.isin(np.arange(gallery.points), gallery.alias_of)
    across = np.where(gallery.latlon_deg[:, 1] < 0.0, east, west)
    return np.where(aliased, np.maximum(plain, across), plain)


@pytest.fixture
def gallery(build: Callable[..., Gallery], embed_plane: Embed) -> Gallery:
    return build(equal_area_grid(20.0, -18.0, 176.0, -14.0, -176.0), embed_plane, wraps=False)


@pytest.fixture
def queries(gallery: Gallery, embed_plane: Embed) -> np.ndarray:
    """Embeddings of nothing in the gallery: many points are then about equally far, as for a picture."""
    rng = np.random.default_rng(2)
    places = np.stack([rng.uniform(-20.0, -12.0, 40), rng.uniform(174.0, 186.0, 40)], axis=-1)
    noisy = embed_plane(places) + rng.normal(scale=0.1, size=(40, gallery.width)).astype(np.float32)
    return (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)


def test_the_order_is_that_of_unrounded_embeddings(gallery: Gallery, queries: np.ndarray, embed_plane: Embed) -> None:
    stored_scores, stored = search_gallery(gallery, queries, 60)
    scores, indices = rescore_points(gallery, queries, stored, embed_plane)
    expected = unrounded_scores(gallery, queries, embed_plane)
    order = np.argsort(-expected.astype(np.float32), axis=1, kind="stable")[:, :30]
    np.testing.assert_array_equal(indices[:, :30], order)
    np.testing.assert_allclose(scores[:, :30], np.take_along_axis(expected, order, axis=1), atol=SCORE_TOLERANCE)
    # The rounding was there to be mended: it changes the order, and scores by more than is tolerated.
    assert (stored[:, :30] != order).any()
    assert np.abs(stored_scores[:, :30] - scores[:, :30]).max() > SCORE_TOLERANCE
    assert (scores.dtype, indices.dtype) == (np.float32, np.int64)
    assert np.array_equal(np.sort(indices, axis=1), np.sort(stored, axis=1))


def test_points_shared_by_queries_are_embedded_once(gallery: Gallery, queries: np.ndarray, embed_plane: Embed) -> None:
    embedded = []

    def counted(latlon_deg: np.ndarray) -> np.ndarray:
        embedded.append(len(latlon_deg))
        return embed_plane(latlon_deg)

    _, found = search_gallery(gallery, np.repeat(queries[:1], 5, axis=0), 20)
    rescore_points(gallery, np.repeat(queries[:1], 5, axis=0), found, counted)
    assert sum(embedded) == 20 + np.isin(found[0], gallery.alias_of).sum()


def test_equal_embeddings_come_in_order_of_index(build: Callable[..., Gallery]) -> None:
    direction = np.eye(48, dtype=np.float32)[:1]

    def one_place(latlon_deg: np.ndarray) -> np.ndarray:
        return np.repeat(direction, len(latlon_deg), axis=0)

    gallery = build(equal_area_grid(2000.0), one_place, wraps=True)
    _, indices = rescore_points(gallery, direction, np.array([[9, 3, 7, 0]]), one_place)
    assert indices.tolist() == [[0, 3, 7, 9]]


def test_no_query_is_no_answer(gallery: Gallery, embed_plane: Embed) -> None:
    scores, indices = rescore_points(
        gallery, np.zeros((0, gallery.width), np.float32), np.zeros((0, 3), np.int64), embed_plane
    )
    assert scores.shape == indices.shape == (0, 3)


def test_a_query_of_another_width_is_refused(gallery: Gallery, embed_plane: Embed) -> None:
    with pytest.raises(ModelError, match="width"):
        rescore_points(gallery, np.zeros((1, 7), np.float32), np.zeros((1, 3), np.int64), embed_plane)
