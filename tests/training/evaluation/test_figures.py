from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.figures.feature_plot import clips_of_one_city, principal_components
from training.evaluation.figures.trajectory_map import chosen_clips
from vidtag_cli.evaluation.trajectory import discrete_frechet

SAME_NUMBER = 1e-9


def test_principal_components_are_the_axes_of_largest_variance():
    random = np.random.default_rng(0)
    axes, _ = np.linalg.qr(random.normal(size=(6, 6)))
    scores = random.normal(size=(500, 6)) * [5.0, 3.0, 0.1, 0.1, 0.1, 0.1]
    found = principal_components(scores @ axes.T + 7.0)
    expected_variance = np.sort(np.linalg.eigvalsh(np.cov((scores @ axes.T).T)))[::-1][:2]
    assert found.var(axis=0, ddof=1) == pytest.approx(expected_variance, rel=SAME_NUMBER)
    assert abs(np.corrcoef(found.T)[0, 1]) < SAME_NUMBER
    assert np.array_equal(found, principal_components(scores @ axes.T + 7.0))


def test_clips_of_one_city_are_near_each_other_with_and_without_labels(make_predictions):
    labelled = make_predictions()
    chosen = clips_of_one_city(labelled, clips=3)
    assert chosen.sum() == 3
    # Two cities are called Hyderabad; they are not one.
    assert len({tuple(row) for row in labelled.places[chosen]}) == 1
    unlabelled = clips_of_one_city(make_predictions(places=None))
    assert len({tuple(row) for row in labelled.places[unlabelled]}) == 1


def test_tracks_to_draw_are_best_middle_and_worst(make_predictions):
    predictions = make_predictions(error_km=3.0)
    distances_km = [discrete_frechet(*clip).km for clip in predictions.clips()]
    chosen = chosen_clips(predictions, columns=1)
    assert [name.split(",")[0] for name in chosen.values()] == ["best", "middle", "worst"]
    best, middle, worst = (distances_km[clip] for clip in chosen)
    assert best == min(distances_km) and worst == max(distances_km) and best < middle < worst
