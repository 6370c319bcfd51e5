"""Tracks beside their truth: errors, and whether circles hold what they promise."""

import hashlib
import json

import numpy as np
import pytest

from vidtag_cli.errors import InputError
from vidtag_cli.evaluation.metrics import THRESHOLDS_KM
from vidtag_cli.evaluation.scoring import score_track, summarize_scores, truth_record
from vidtag_cli.evaluation.truth import read_truth
from vidtag_cli.geo.sphere import destination_latlon
from vidtag_cli.track import Candidate, Track, TrackPoint

HERE = (48.14, 11.58)


def located(number, error_km):
    lat, lon = map(float, destination_latlon(np.array(HERE), 90.0, error_km))
    places = (Candidate(lat, lon, 0.5, 0.5),)
    return TrackPoint(number, float(number), "ok", lat, lon, 10_000.0, 50_000.0, 0.5, places)


def silent(number):
    return TrackPoint(number, float(number), "abstained", abstain_reason="too uncertain")


def scored(tmp_path, points, true_frames):
    path = tmp_path / "truth.csv"
    rows = [f"{number},{HERE[0]},{HERE[1]}" for number in range(true_frames)]
    path.write_text("\n".join(["media_time_s,lat,lon", *rows]) + "\n", "ascii")
    return score_track(Track("clip.mp4", tuple(points), "model"), read_truth(path))


def test_circles_are_judged_where_a_located_frame_has_a_truth(tmp_path):
    points = [located(0, 5.0), located(1, 30.0), silent(2), located(3, 200.0), located(4, 9.0), located(5, 1.0)]
    entry = scored(tmp_path, points, true_frames=5)
    summary = summarize_scores([entry], THRESHOLDS_KM)
    assert summary["circles"] == {"frames": 4, "share_within_radius50": 0.5, "share_within_radius95": 0.75}
    assert (summary["frames"]["located"], summary["frames"]["without_truth"]) == (4, 1)
    json.dumps(summary, allow_nan=False)


def test_without_a_located_frame_circles_promise_nothing(tmp_path):
    summary = summarize_scores([scored(tmp_path, [silent(0), silent(1)], true_frames=2)], THRESHOLDS_KM)
    assert summary["circles"] == {"frames": 0, "share_within_radius50": None, "share_within_radius95": None}
    assert summary["frames"]["median_km"] is None


def test_a_truth_of_another_time_is_an_error_that_says_both_times(tmp_path):
    with pytest.raises(InputError, match=r"covers 0.000 to 1.000 s .* frames 1000.000 .*are the times aligned"):
        scored(tmp_path, [located(1000, 1.0)], true_frames=2)


def test_positions_too_far_apart_are_an_error_that_names_the_limit(tmp_path):
    truth = read_truth(saved(tmp_path, "0,1,2\n12,1,2\n"))
    track = Track("clip.mp4", (located(5, 1.0), located(6, 1.0)), "model")
    with pytest.raises(InputError, match=r"more than 10 s apart .*--max-gap-s"):
        score_track(track, truth)
    assert np.isfinite(score_track(track, truth, max_gap_s=12.0).errors_km()).all()


def test_frames_that_the_truth_does_not_list_are_an_error(tmp_path):
    truth = read_truth(saved(tmp_path, "1,1,2\n3,1,2\n", "frame"))
    with pytest.raises(InputError, match=r"frames are 1 to 3"):
        score_track(Track("clip.mp4", (located(2, 1.0),), "model"), truth)


def test_a_score_names_its_truth(tmp_path):
    path = saved(tmp_path, "0,0,0\n1,,\n2,1,2\n3,1,2\n")
    points = (silent(1), located(2, 5.0), located(3, 5.0))
    record = truth_record(score_track(Track("clip.mp4", points, "model"), read_truth(path)))
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (record["format"], record["clock"], record["positions"]) == ("table", "media_time", 2)
    assert record["left_out"] == {"at 0, 0": 1, "without a position": 1}
    assert record["alignment"]["method"] == "media_time"
    assert (record["frames"], record["frames_without_truth"], record["max_gap_s"]) == (3, 1, 10.0)
    json.dumps(record, allow_nan=False)


def saved(tmp_path, rows, time="time_s"):
    path = tmp_path / "truth.csv"
    path.write_text(f"{time},lat,lon\n{rows}", "ascii")
    return path
