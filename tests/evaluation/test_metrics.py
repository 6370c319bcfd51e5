from __future__ import annotations

import math

import numpy as np
import pytest

from vidtag_cli.evaluation.metrics import (
    frame_errors_km,
    frame_metrics,
    representative_latlon,
    video_error_km,
    video_metrics,
)
from vidtag_cli.geo.sphere import EARTH_RADIUS_KM, destination_latlon

NAN = (math.nan, math.nan)
# Destination and distance are each good to about 1e-8 rad near the poles, where arcsine is flat.
ERROR_TOLERANCE_KM = 1e-4


def at_distances(truth, distances_km, bearing_deg=40.0):
    truth = np.broadcast_to(np.array(truth, dtype=float), (len(distances_km), 2))
    distances_km = np.array(distances_km, dtype=float)
    return truth, destination_latlon(truth, np.full(len(distances_km), bearing_deg), distances_km)


@pytest.mark.parametrize("place", [(0.0, 0.0), (48.9, 2.3), (-17.0, 179.9999), (-17.0, -179.9999), (89.9, 20.0)])
def test_shares_and_averages_of_known_errors(place):
    truth, predicted = at_distances(place, [0.1, 0.6, 3.0, 30.0])
    metrics = frame_metrics(truth, predicted)
    assert metrics.share_within == {0.5: 0.25, 1.0: 0.5, 5.0: 0.75, 25.0: 0.75, 200.0: 1.0, 750.0: 1.0, 2500.0: 1.0}
    assert metrics.median_km == pytest.approx(1.8, abs=ERROR_TOLERANCE_KM)
    assert metrics.mean_km == pytest.approx(8.425, abs=ERROR_TOLERANCE_KM)
    assert (metrics.count, metrics.coverage) == (4, 1.0)


def test_the_two_spellings_of_the_antimeridian_are_one_place():
    truth, predicted = np.array([(10.0, 180.0), (10.0, -180.0)]), np.array([(10.0, -180.0), (10.0, 180.0)])
    assert frame_metrics(truth, predicted, [1e-6]).share_within == {1e-6: 1.0}


def test_an_abstention_counts_as_a_miss_and_shows_in_the_coverage():
    truth = np.array([(10.0, 20.0)] * 4)
    predicted = np.array([(10.0, 20.0), NAN, NAN, (10.0, 20.0)])
    metrics = frame_metrics(truth, predicted, [1.0, 1e9])
    assert metrics.share_within == {1.0: 0.5, 1e9: 0.5}
    assert metrics.share_within_located == {1.0: 1.0, 1e9: 1.0}
    assert (metrics.count, metrics.located_count, metrics.coverage, metrics.median_km) == (4, 2, 0.5, 0.0)


def test_everything_abstained_is_zero_and_not_an_error():
    metrics = frame_metrics(np.array([(10.0, 20.0)] * 3), np.array([NAN] * 3), [1.0])
    assert metrics.share_within == {1.0: 0.0}
    assert metrics.coverage == 0.0
    assert math.isnan(metrics.median_km) and math.isnan(metrics.share_within_located[1.0])


def test_frames_without_truth_are_left_out_and_counted():
    metrics = frame_metrics(np.array([(10.0, 20.0), NAN]), np.array([(10.0, 20.0), (0.0, 0.0)]), [1.0])
    assert (metrics.count, metrics.without_truth_count, metrics.share_within) == (1, 1, {1.0: 1.0})


def test_two_of_three_frames_without_truth_are_two():
    truth, predicted = np.array([NAN, (0.0, 0.0), NAN]), np.zeros((3, 2))
    assert frame_metrics(truth, predicted).without_truth_count == 2


def test_an_error_of_just_the_limit_is_within_it():
    truth, predicted = at_distances((10.0, 20.0), [3.0, 4.0])
    limit_km = float(frame_errors_km(truth, predicted)[0])
    metrics = frame_metrics(truth, predicted, [limit_km])
    assert metrics.share_within == {limit_km: 0.5}


@pytest.mark.parametrize(("truth", "predicted", "name"), [
    ([(0.0, math.nan)], [(0.0, 0.0)], "truth"), ([(0.0, 0.0)], [(math.nan, 0.0)], "prediction"),
])  # fmt: skip
def test_half_a_position_is_refused_by_name(truth, predicted, name):
    with pytest.raises(ValueError, match=f"^{name} of frame 0 is "):
        frame_errors_km(np.array(truth), np.array(predicted))


@pytest.mark.filterwarnings("error")
def test_a_median_of_nothing_is_nan_without_a_warning():
    assert math.isnan(frame_metrics(np.zeros((2, 2)), np.array([NAN, NAN])).median_km)


def test_no_frames_have_no_shares():
    metrics = frame_metrics(np.zeros((0, 2)), np.zeros((0, 2)), [1.0])
    assert metrics.count == 0
    assert math.isnan(metrics.share_within[1.0]) and math.isnan(metrics.coverage)


@pytest.mark.parametrize(
    ("truth", "predicted"),
    [
        (np.zeros((3, 2)), np.zeros((2, 2))),
        (np.zeros(2), np.zeros(2)),
        (np.zeros((1, 3)), np.zeros((1, 3))),
        (np.array([(91.0, 0.0)]), np.zeros((1, 2))),
        (np.zeros((1, 2)), np.array([(0.0, 181.0)])),
        (np.zeros((1, 2)), np.array([(0.0, math.nan)])),
        (np.zeros((1, 2)), np.array([(math.inf, 0.0)])),
    ],
)
def test_what_is_not_a_row_of_positions_is_refused(truth, predicted):
    with pytest.raises(ValueError):
        frame_metrics(truth, predicted)


def test_errors_keep_their_rows():
    errors_km = frame_errors_km(np.array([(0.0, 0.0), NAN, (0.0, 0.0)]), np.array([(0.0, 90.0), (0.0, 0.0), NAN]))
    assert errors_km[0] == pytest.approx(EARTH_RADIUS_KM * math.pi / 2)
    assert np.isnan(errors_km[1:]).all()


class TestVideos:
    def test_the_prediction_nearest_the_centroid_stands_for_the_video(self):
        truth = np.array([(10.0, 20.0)] * 5)
        predicted = np.array([(10.0, 20.0), (10.0, 20.1), (10.1, 20.0), (-40.0, 100.0), (9.9, 19.9)])
        chosen = representative_latlon(predicted)
        assert chosen.tolist() in predicted.tolist()
        assert chosen.tolist() != [-40.0, 100.0]
        assert video_error_km(truth, predicted) < 20.0

    @pytest.mark.parametrize(
        "track", [[(5.0, 179.9), (5.0, -180.0), (5.0, -179.9)], [(89.9, 0.0), (90.0, 0.0), (89.9, 180.0)]]
    )
    def test_a_perfect_prediction_across_a_seam_is_near_the_centroid(self, track):
        assert video_error_km(np.array(track), np.array(track)) < 0.02

    def test_centroids_across_the_antimeridian_by_hand(self):
        truth = np.array([(0.0, 179.0), (0.0, -180.0), (0.0, -179.0)])  # centroid (0, 180)
        predicted = np.array([(0.0, 179.5), (0.0, -179.5), (0.0, -178.0)])  # centroid near (0, -179.33)
        assert representative_latlon(predicted).tolist() == [0.0, -179.5]
        assert video_error_km(truth, predicted) == pytest.approx(math.radians(0.5) * EARTH_RADIUS_KM)

    def test_centroids_at_the_pole_by_hand(self):
        truth = np.array([(89.0, 0.0), (89.0, 90.0), (89.0, -180.0), (89.0, -90.0)])  # centroid: the pole
        predicted = np.array([(89.5, 10.0), (89.4, 10.0), (89.5, 10.0), (87.0, 10.0)])  # centroid near (88.85, 10)
        assert representative_latlon(predicted).tolist() == [89.4, 10.0]
        assert video_error_km(truth, predicted) == pytest.approx(math.radians(0.6) * EARTH_RADIUS_KM)

    def test_the_share_of_videos_over_seams_by_hand(self):
        antimeridian, pole = np.array([(10.0, 179.99), (10.0, -179.99)]), np.array([(89.99, 0.0), (89.99, -180.0)])
        metrics = video_metrics([(antimeridian, antimeridian), (pole, pole)], [1.0, 2.0])
        # Either prediction is a hundredth of a degree from the centroid: 1.095 km of longitude, 1.112 km of latitude.
        assert metrics.share_within == {1.0: 0.0, 2.0: 1.0}
        assert metrics.median_km == pytest.approx((1.0951 + 1.1119) / 2.0, abs=1e-3)

    def test_videos_are_weighed_alike_whatever_their_length(self):
        here, there = np.array([(0.0, 0.0)] * 100), np.array([(0.0, 1.0)])
        metrics = video_metrics([(here, here), (there, there + [0.0, 1.0])], [1.0])
        assert metrics.share_within == {1.0: 0.5}
        assert metrics.count == 2

    def test_abstained_frames_do_not_vote_and_an_abstained_video_is_a_miss(self):
        truth = np.array([(0.0, 0.0)] * 3)
        partly, wholly = np.array([NAN, (0.0, 0.0), NAN]), np.array([NAN] * 3)
        metrics = video_metrics([(truth, partly), (truth, wholly)], [1.0])
        assert metrics.share_within == {1.0: 0.5}
        assert (metrics.coverage, metrics.median_km) == (0.5, 0.0)

    def test_videos_without_truth_are_counted(self):
        metrics = video_metrics([(np.array([NAN]), np.array([(0.0, 0.0)]))])
        assert (metrics.count, metrics.without_truth_count) == (0, 1)

    def test_a_frame_without_truth_takes_no_part(self):
        truth = np.array([(0.0, 0.0), NAN, (0.0, 2.0)])
        predicted = np.array([(0.0, 1.0), (0.0, 50.0), NAN])
        assert video_error_km(truth, predicted) == pytest.approx(0.0, abs=ERROR_TOLERANCE_KM)

    def test_a_video_with_some_truth_is_judged(self):
        metrics = video_metrics([(np.array([(0.0, 0.0), NAN]), np.zeros((2, 2)))])
        assert (metrics.count, metrics.without_truth_count) == (1, 0)

    def test_a_video_without_any_truth_has_no_error(self):
        with pytest.raises(ValueError, match="no frame of the video has a true position"):
            video_error_km(np.array([NAN]), np.array([(0.0, 0.0)]))

    def test_predictions_that_cancel_out_still_give_one_of_them(self):
        predicted = np.array([(0.0, 0.0), (0.0, -180.0)])
        assert representative_latlon(predicted).tolist() in predicted.tolist()
