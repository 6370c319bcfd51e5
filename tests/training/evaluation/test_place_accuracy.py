from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.place_accuracy import confusion_of_hardest, nearest_centre_places, place_accuracy

FEW = 50
BERLIN = ("Berlin", "Berlin", "Germany", "Europe")
MUNICH = ("Munich", "Bavaria", "Germany", "Europe")
HYDERABAD_IN = ("Hyderabad", "Telangana", "India", "Asia")
HYDERABAD_PK = ("Hyderabad", "Sindh", "Pakistan", "Asia")
NOWHERE = ("", "", "", "")


def values(true, predicted):
    accuracy = place_accuracy(np.array(true), np.array(predicted), resamples=FEW)
    return {level: estimate.value for level, estimate in accuracy.items()}


def test_each_level_is_judged_by_itself():
    true = [BERLIN, BERLIN, MUNICH, HYDERABAD_IN]
    predicted = [BERLIN, MUNICH, HYDERABAD_IN, MUNICH]
    assert values(true, predicted) == {"city": 0.25, "state": 0.25, "country": 0.5, "continent": 0.5}


def test_two_cities_of_one_name_are_two_cities():
    assert values([HYDERABAD_IN], [HYDERABAD_PK]) == {"city": 0.0, "state": 0.0, "country": 0.0, "continent": 1.0}


def test_an_unknown_truth_is_left_out_and_an_empty_prediction_is_a_miss():
    true = [BERLIN, ("", "", "Germany", "Europe")]
    assert values(true, [BERLIN, MUNICH]) == {"city": 1.0, "state": 1.0, "country": 1.0, "continent": 1.0}
    assert values([BERLIN], [NOWHERE]) == {"city": 0.0, "state": 0.0, "country": 0.0, "continent": 0.0}


def test_the_nearest_centre_is_right_for_small_errors_across_the_antimeridian_too(make_predictions):
    predictions = make_predictions(error_km=2.0)
    found = nearest_centre_places(predictions, predictions.centres)
    assert found.tolist() == predictions.places.tolist()


def test_a_clip_that_abstained_has_no_place(make_predictions):
    predictions = make_predictions()
    predictions.predicted_latlon_deg[: predictions.offsets[1]] = np.nan
    found = nearest_centre_places(predictions, predictions.centres)
    assert found[0].tolist() == list(NOWHERE)
    assert found[1].tolist() == predictions.places[1].tolist()


def test_the_hardest_cities_come_first_and_rows_add_up():
    true = np.array([BERLIN] * 4 + [MUNICH] * 4 + [HYDERABAD_IN] * 2 + [HYDERABAD_PK])
    predicted = np.array([BERLIN] * 3 + [MUNICH] + [BERLIN] * 3 + [MUNICH] + [HYDERABAD_IN] * 2 + [HYDERABAD_IN])
    confusion = confusion_of_hardest(true, predicted, cities=3)
    assert confusion.cities == ("Hyderabad, Pakistan", "Munich", "Berlin")
    assert confusion.clips.tolist() == [1, 4, 4]
    assert confusion.shares == pytest.approx(
        np.array([[0.0, 0.0, 0.0, 1.0], [0.0, 0.25, 0.75, 0.0], [0.0, 0.25, 0.75, 0.0]])
    )
