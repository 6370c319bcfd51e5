from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from training.evaluation.predictions import PredictionInfo, join_clips
from training.evaluation.score import score_predictions
from vidtag_cli.evaluation.metrics import frame_metrics, video_metrics
from vidtag_cli.evaluation.trajectory import discrete_frechet, mean_range_difference

FEW = 50
SAME_NUMBER = 1e-12


def test_values_are_those_of_the_runtime_metrics(make_predictions):
    predictions = make_predictions()
    score = score_predictions(predictions, resamples=FEW)
    frames = frame_metrics(predictions.truth_latlon_deg, predictions.predicted_latlon_deg)
    videos = video_metrics(list(predictions.clips()))
    assert {k: e.value for k, e in score.frame_share_within.items()} == pytest.approx(dict(frames.share_within))
    assert {k: e.value for k, e in score.video_share_within.items()} == pytest.approx(dict(videos.share_within))
    assert (score.frame_median_km.value, score.video_median_km.value) == (frames.median_km, videos.median_km)
    frechet = [discrete_frechet(*clip) for clip in predictions.clips()]
    ranges = [mean_range_difference(*clip) for clip in predictions.clips()]
    assert score.dfd_deg.value == pytest.approx(np.mean([d.degrees for d in frechet]), abs=SAME_NUMBER)
    assert score.dfd_km.value == pytest.approx(np.mean([d.km for d in frechet]), abs=SAME_NUMBER)
    assert score.mrd_deg.value == pytest.approx(np.mean([d.degrees for d in ranges]), abs=SAME_NUMBER)
    assert score.mrd_km.value == pytest.approx(np.mean([d.km for d in ranges]), abs=SAME_NUMBER)
    assert score.frame_median_km.low < score.frame_median_km.value < score.frame_median_km.high


def test_a_perfect_prediction_across_seams_scores_zero():
    tracks = [np.array([(5.0, 179.99), (5.0, -180.0), (5.0, -179.99)]), np.array([(89.99, 0.0), (90.0, 7.0)])]
    score = score_predictions(join_clips(PredictionInfo("m", "d", "g"), "ab", tracks, tracks), resamples=FEW)
    for estimate in (score.frame_median_km, score.dfd_deg, score.dfd_km, score.mrd_deg, score.mrd_km):
        assert (estimate.value, estimate.low, estimate.high) == (0.0, 0.0, 0.0)


def test_abstentions_and_missing_truth_are_counted(make_predictions):
    predictions = make_predictions()
    truth, predicted = predictions.truth_latlon_deg.copy(), predictions.predicted_latlon_deg.copy()
    first, second = (slice(*predictions.offsets[n : n + 2]) for n in (0, 1))
    truth[first] = np.nan
    predicted[second] = np.nan
    changed = dataclasses.replace(predictions, truth_latlon_deg=truth, predicted_latlon_deg=predicted)
    score = score_predictions(changed, resamples=FEW)
    frames = predictions.frames_per_clip()
    assert (score.clips, score.clips_without_truth) == (len(predictions) - 1, 1)
    assert score.frames_without_truth == frames[0]
    assert score.coverage == pytest.approx(1.0 - frames[1] / frames[1:].sum())
    assert score.video_share_within[2500.0].value == pytest.approx(1.0 - 1.0 / (len(predictions) - 1))


def test_nothing_to_judge_is_nan_and_not_an_error():
    nothing = join_clips(PredictionInfo("m", "d", "g"), [], [], [])
    score = score_predictions(nothing, resamples=FEW)
    assert score.clips == 0
    assert math.isnan(score.frame_median_km.value) and math.isnan(score.video_share_within[1.0].value)
