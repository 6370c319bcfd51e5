"""Conformal radii by a number that rises with doubt: every rule by a case small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vidtag_cli.calibration.circles import CLIPS_PER_BIN, clip_quantile, measure_circles, radius_tables

NAMES = ("edges", "half", "most")


def tables(doubt: list[float], errors_km: list[float], bins: int, kept: list[bool] | None = None) -> dict:
    """Return the tables of frames that are a clip each, which may be as few as one in a bin."""
    is_kept = np.ones(len(doubt), bool) if kept is None else np.array(kept)
    doubts, errors = np.array(doubt, float), np.array(errors_km, float)
    return radius_tables(NAMES, doubts, errors, np.arange(len(doubts)), is_kept, bins, clips_per_bin=1)


@pytest.mark.parametrize(
    ("count", "share", "rank"),
    [
        (1, 0.5, 1),
        (3, 0.5, 2),
        (4, 0.5, 3),
        (19, 0.95, 19),
        (18, 0.95, 18),
        (20, 0.95, 20),
        (39, 0.95, 38),
        (99, 0.95, 95),
    ],
)
def test_the_quantile_is_the_smallest_with_a_guarantee_for_one_more(count: int, share: float, rank: int) -> None:
    assert clip_quantile(np.random.default_rng(0).permutation(count) + 1.0, np.arange(count), share) == rank


def test_each_bin_has_the_quantiles_of_its_own_errors() -> None:
    table = tables([1, 2, 3, 10, 20, 30], [1, 2, 3, 40, 50, 60], bins=2)
    assert table == {"edges": [6.5], "half": [2.0, 50.0], "most": [3.0, 60.0]}


def test_a_doubt_at_an_edge_belongs_above_it() -> None:
    assert tables([1, 1, 3, 3, 3], [1, 2, 30, 40, 50], bins=2) == {
        "edges": [3.0],
        "half": [2.0, 40.0],
        "most": [2.0, 50.0],
    }


def test_only_kept_frames_are_counted_unless_none_is() -> None:
    doubt, errors_km = [1, 2, 3, 4], [1, 2, 300, 400]
    assert tables(doubt, errors_km, 1, [True, True, False, False])["most"] == [2.0]
    assert tables(doubt, errors_km, 1, [False] * 4)["most"] == [400.0]


def test_equal_doubts_make_one_edge_and_no_empty_bin() -> None:
    assert tables([5] * 6, [1, 2, 3, 4, 5, 6], bins=3) == {"edges": [], "half": [4.0], "most": [6.0]}
    doubt, errors_km = [1, 1, 1, 1, 1, 9], [1, 2, 3, 4, 5, 6]
    assert tables(doubt, errors_km, bins=4)["most"][-1] == 6.0


def test_bins_whose_radii_fall_are_joined_until_none_does() -> None:
    doubt = [1, 2, 11, 12, 21, 22, 31, 32]
    table = tables(doubt, [5, 6, 90, 91, 40, 41, 95, 96], bins=4)
    assert table["most"] == [6.0, 91.0, 96.0]
    assert table["half"] == [6.0, 90.0, 96.0]
    assert len(table["edges"]) == 2
    assert 2 < table["edges"][0] < 11
    assert 22 < table["edges"][1] < 31
    assert tables(doubt, [9, 9, 8, 8, 7, 7, 6, 6], bins=4) == {"edges": [], "half": [8.0], "most": [9.0]}


def test_equal_radii_may_stay_apart() -> None:
    assert tables([1, 2, 11, 12], [5, 6, 5, 6], bins=2)["most"] == [6.0, 6.0]


FITTED = {"edges": [10.0], "half": [2.0, 20.0], "most": [5.0, 50.0]}


def measured(doubt: list[float], errors_km: list[float], kept: list[bool], limit_km: float) -> dict[str, float]:
    doubts, errors = np.array(doubt, float), np.array(errors_km, float)
    clip = np.arange(len(doubts))
    return measure_circles(NAMES, FITTED, doubts, errors, clip, np.array(kept), limit_km)


def test_circles_are_measured_on_what_would_be_located() -> None:
    found = measured([1, 9, 10, 11, 3], [2, 6, 20, 51, 1], [True, True, True, True, False], 50.0)
    assert 0.0 < found.pop("coverage95_low") < 0.5 < found.pop("coverage95_high") < 1.0
    assert found == {
        "located_share": 0.8,
        "located_clips": 4.0,
        "coverage50": 0.5,
        "coverage95": 0.5,
        "median_error_located_km": 13.0,
        "share_within_100_km_located": 1.0,
        "median_radius95_located_km": 27.5,
    }


def test_circles_wider_than_the_limit_are_not_located() -> None:
    found = measured([1, 11, 2, 3], [5, 101, 100, 101], [True, True, True, True], 49.0)
    assert found["located_share"] == 0.75
    assert found["coverage95"] == pytest.approx(1 / 3)
    assert found["share_within_100_km_located"] == pytest.approx(2 / 3)
    assert found["median_error_located_km"] == 100.0
    assert found["median_radius95_located_km"] == 5.0


def test_without_a_located_frame_only_the_share_is_known() -> None:
    assert measured([1, 11], [1, 1], [False, True], 49.0) == {"located_share": 0.0}


def test_each_clip_has_one_voice_however_many_frames_it_has() -> None:
    """Of 39 clips one is wrong by 1,000 km and has 1,000 frames: two of 40 voices may lie beyond a 95 % radius."""
    errors_km = np.concatenate([np.arange(1.0, 39.0), np.full(1000, 1000.0)])
    clip = np.concatenate([np.arange(38), np.full(1000, 38)])
    assert clip_quantile(errors_km, clip, 0.95) == 38.0
    assert clip_quantile(errors_km, clip, 0.5) == 20.0


def test_frames_of_a_clip_share_its_voice() -> None:
    """Nineteen clips of four frames, the worst of each at 100 km: a quarter of every clip lies there."""
    errors_km, clip = np.tile([1.0, 2.0, 3.0, 100.0], 19), np.arange(19).repeat(4)
    assert clip_quantile(errors_km, clip, 0.7) == 3.0  # 19 / 20 of 3 / 4 are 0.7125
    assert clip_quantile(errors_km, clip, 0.72) == 100.0


def test_a_bin_of_too_few_clips_is_joined_with_its_neighbour() -> None:
    doubt = np.concatenate([np.linspace(0.0, 1.0, 100), np.full(100, 9.0)])
    clip = np.concatenate([np.arange(100), np.full(100, 100)])  # all that doubt comes from one clip
    table = radius_tables(NAMES, doubt, np.arange(200.0), clip, np.ones(200, bool), 2)
    assert table["edges"] == []
    few = np.arange(200) < CLIPS_PER_BIN - 1
    assert radius_tables(NAMES, doubt, np.arange(200.0), clip, few, 2)["most"][-1] > CLIPS_PER_BIN


def test_an_interval_by_clip_is_wider_than_one_by_frame() -> None:
    """Of a hundred clips of sixteen frames, five are wholly wrong: a hundred voices, not 1,600."""
    errors_km = np.where(np.arange(1600) < 80, 9.0, 1.0)
    one_bin = {"edges": [], "half": [1.0], "most": [5.0]}
    zeros, ones = np.zeros(1600), np.ones(1600, bool)
    by_clip = measure_circles(NAMES, one_bin, zeros, errors_km, np.arange(100).repeat(16), ones, 50.0)
    by_frame = measure_circles(NAMES, one_bin, zeros, errors_km, np.arange(1600), ones, 50.0)
    assert by_clip["coverage95"] == by_frame["coverage95"] == 0.95
    assert by_clip["coverage95_low"] < 0.9 < by_frame["coverage95_low"]
    assert by_frame["coverage95_high"] < 0.97 < by_clip["coverage95_high"]
