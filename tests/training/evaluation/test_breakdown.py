from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.breakdown import (
    clip_continents,
    error_kind,
    error_kinds,
    error_scales,
    from_plane_km,
    split_by_continent,
    split_by_length,
    to_plane_km,
)
from training.evaluation.predictions import PredictionInfo, join_clips
from vidtag_cli.geo.sphere import destination_latlon, haversine_km

START = np.array([60.0, 24.0])
ROUND_TRIP_KM = 1e-6


def straight_track(start=START, frames=16, step_km=0.05):
    return destination_latlon(np.broadcast_to(start, (frames, 2)), np.full(frames, 90.0), np.arange(frames) * step_km)


@pytest.mark.parametrize("centre", [(60.0, 24.0), (0.0, -180.0), (90.0, 0.0), (-89.9, 100.0)])
def test_the_plane_keeps_distances_from_its_centre_and_returns(centre):
    centre = np.array(centre)
    plane_km = np.random.default_rng(0).uniform(-40.0, 40.0, (50, 2))
    positions = from_plane_km(plane_km, centre)
    assert haversine_km(centre, positions) == pytest.approx(np.hypot(*plane_km.T), abs=ROUND_TRIP_KM)
    assert to_plane_km(positions, centre) == pytest.approx(plane_km, abs=1e-4)  # the bearing at a pole is coarse


def test_continents_come_from_labels_else_from_the_land_below(make_predictions):
    labelled = make_predictions()
    unlabelled = make_predictions(places=None)
    assert clip_continents(labelled).tolist() == clip_continents(unlabelled).tolist()
    parts = split_by_continent(unlabelled)
    assert {name: len(part) for name, part in parts.items()} == {"Asia": 12, "Europe": 4, "Oceania": 4}


def test_classes_of_length_hold_every_clip_once(make_predictions):
    predictions = make_predictions()
    parts = split_by_length(predictions, (1, 10, 20))
    assert list(parts) == ["1-9", "10-19", ">= 20"]
    assert sorted(key for part in parts.values() for key in part.keys) == sorted(predictions.keys)
    assert parts["10-19"].frames_per_clip().min() >= 10 and parts["10-19"].frames_per_clip().max() <= 19


def test_scales_of_known_errors():
    truth = np.repeat(START[None], 6, axis=0)
    predicted = destination_latlon(truth, np.zeros(6), np.array([0.2, 3.0, 20.0, 100.0, 6000.0, 1.0]))
    predicted[5] = np.nan
    shares = error_scales(join_clips(PredictionInfo("m", "d", "g"), ["a"], [truth], [predicted]))
    sixth = pytest.approx(1 / 6)
    assert shares["same street (1 km)"] == shares["same locality (5 km)"] == shares["abstained"] == sixth
    assert shares["another part of the city (25 km)"] == shares["same region (200 km)"] == shares["elsewhere"] == sixth
    assert sum(shares.values()) == pytest.approx(1.0)


class TestKinds:
    TRUTH = straight_track()

    def test_each_failure_of_the_papers_figure_4_is_told(self):
        random = np.random.default_rng(0)
        frames = len(self.TRUTH)
        shifted = destination_latlon(self.TRUTH, np.full(frames, 30.0), np.full(frames, 8.0))
        collapsed = np.repeat(shifted[:1], frames, axis=0)
        scattered = destination_latlon(self.TRUTH, random.uniform(0, 360, frames), random.uniform(2.0, 9.0, frames))
        kinds = [error_kind(self.TRUTH, track, 1.0) for track in (self.TRUTH, shifted, collapsed, scattered)]
        assert kinds == ["right", "shifted", "collapsed", "scattered"]

    def test_a_clip_that_stands_still_is_not_called_collapsed(self):
        standing = np.repeat(START[None], 5, axis=0)
        far = destination_latlon(standing, np.zeros(5), np.full(5, 9.0))
        assert error_kind(standing, far, 1.0) == "shifted"

    @pytest.mark.parametrize("place", [(10.0, 179.99), (89.99, 0.0)])
    def test_a_shift_over_a_seam_is_a_shift(self, place):
        truth = straight_track(np.array(place))
        centre = truth[len(truth) // 2]
        shifted = from_plane_km(to_plane_km(truth, centre) + [4.0, 3.0], centre)
        assert error_kind(truth, shifted, 1.0) == "shifted"

    def test_shares_add_up(self, make_predictions):
        assert sum(error_kinds(make_predictions(error_km=5.0)).values()) == pytest.approx(1.0)

    def test_nothing_located_is_an_abstention(self):
        assert error_kind(self.TRUTH, np.full_like(self.TRUTH, np.nan), 1.0) == "abstained"
