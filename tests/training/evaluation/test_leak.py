from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.leak import check_leak, refuse_leak
from training.evaluation.predict import (
    NamedGallery,
    QueryClips,
    predict,
    validation_gallery,
)
from vidtag_cli.errors import UsageError
from vidtag_cli.geo.grid import equal_area_grid
from vidtag_cli.geo.nearest import nearest_neighbour
from vidtag_cli.geo.sphere import destination_latlon

BOX = (60.0, 24.0, 60.3, 24.6)
GRID = equal_area_grid(0.1, *BOX)
COARSE_GRID = equal_area_grid(5.0, *BOX)


def random_queries(count, seed=0):
    return np.random.default_rng(seed).uniform(BOX[:2], BOX[2:], (count, 2))


def test_a_fine_grid_meets_queries_by_chance_and_is_no_leak():
    queries = random_queries(60_000)
    check = check_leak(GRID, queries)
    # A circle of a metre in a cell of 100 m: 3.1 in 10,000 queries, 19 of 60,000.
    assert 4 < check.near_queries < 50
    assert not check.leaks
    assert "chance" in check.in_words()


def test_straight_tracks_along_the_rows_of_a_grid_are_no_leak():
    row = GRID[GRID[:, 0] == GRID[5000, 0]]
    track = np.stack([np.full(4000, row[0, 0] + 3e-5), np.linspace(24.01, 24.59, 4000)], axis=-1)  # 3 m beside a row
    assert not check_leak(GRID, track).leaks


@pytest.mark.parametrize("copied", [1, 40])
def test_copied_queries_in_a_coarse_gallery_are_found(copied):
    queries = random_queries(500)
    check = check_leak(np.concatenate([COARSE_GRID, queries[:copied]]), queries)
    assert (check.near_queries, check.near_points, check.copied_points) == (copied, copied, copied)
    assert check.leaks
    assert f"{copied} of 500" in check.in_words()


def test_a_gallery_rounded_to_single_precision_is_found():
    queries = random_queries(300) + [0.0, 100.0]
    check = check_leak(np.concatenate([COARSE_GRID, queries.astype(np.float32).astype(np.float64)]), queries)
    assert check.near_queries > 250
    assert check.leaks


def test_the_whole_validation_set_in_a_fine_grid_is_found():
    queries = random_queries(2000)
    assert check_leak(np.concatenate([GRID, queries]), queries).leaks


@pytest.mark.parametrize("place", [(10.0, -180.0), (89.9999, 30.0)])
def test_copies_are_found_across_seams(place):
    queries = destination_latlon(np.broadcast_to(place, (6, 2)), np.arange(6) * 60.0, np.full(6, 0.0003))
    spelled = np.where(queries[:, 1:] < 0.0, queries + [0.0, 360.0], queries)
    assert check_leak(spelled, queries).near_queries == 6


def test_near_queries_are_those_of_an_exhaustive_search():
    queries = random_queries(2000)
    gallery = destination_latlon(queries[::7], np.full(286, 45.0), np.linspace(0.0, 0.003, 286))
    distance_km, _ = nearest_neighbour(queries, gallery)
    assert check_leak(gallery, queries).near_queries == int((distance_km <= 0.001).sum())


def test_queries_without_truth_and_empty_galleries_do_not_count():
    queries = np.array([(np.nan, np.nan), (1.0, 2.0)])
    check = check_leak(np.zeros((0, 2)), queries)
    assert (check.queries, check.near_queries, check.leaks) == (1, 0, False)


def test_a_leak_is_refused_with_what_to_do_and_let_pass_on_request():
    check = check_leak(random_queries(50), random_queries(50))
    with pytest.raises(UsageError, match=r"gallery val: .*50 of 50.*--allow-leak"):
        refuse_leak(check, allow=False, gallery="val")
    refuse_leak(check, allow=True, gallery="val")


class TestPredict:
    QUERIES = QueryClips("toy", ["a", "b"], [random_queries(3), random_queries(2, seed=1)])

    @staticmethod
    def nearest(store, gallery_latlon_deg):
        """A perfect model: its store is the truth."""
        return [gallery_latlon_deg[nearest_neighbour(truth, gallery_latlon_deg)[1]] for truth in store]

    def test_predictions_carry_gallery_and_leak_check(self):
        gallery = NamedGallery("5 km", COARSE_GRID, 5.0)
        predictions = predict("m", self.nearest, self.QUERIES.truth_latlon_deg, self.QUERIES, gallery)
        assert predictions.info.gallery_spacing_km == 5.0
        assert predictions.info.leak.queries == 5 and not predictions.info.leak.leaks
        assert predictions.keys == ("a", "b")

    def test_the_validation_gallery_must_be_allowed(self):
        gallery = validation_gallery(self.QUERIES)
        store = self.QUERIES.truth_latlon_deg
        with pytest.raises(UsageError, match="validation set"):
            predict("m", self.nearest, store, self.QUERIES, gallery)
        predictions = predict("m", self.nearest, store, self.QUERIES, gallery, allow_leak=True)
        assert predictions.info.leak.leaks
        assert np.array_equal(predictions.predicted_latlon_deg, predictions.truth_latlon_deg)
