from __future__ import annotations

import numpy as np
import pytest

from vidtag_cli.evaluation.bootstrap import (
    ClipResampling,
    Estimate,
    estimate_median,
    estimate_ratio,
    percentile_interval,
    resampled_medians,
    resampled_ratios,
)

# 100 trials with fixed seeds of a 95 % interval: a right one covers at least 87 with probability 0.999; the percentile
# interval of 40 values is known to fall one or two per cent short.
TRIALS, LOWEST_COVERED = 100, 85
FEW = 100


def mean_of_clips(values, seed):
    return estimate_ratio(values, np.ones(len(values)), ClipResampling(len(values), seed, FEW))


def test_equal_seeds_give_equal_intervals():
    values = np.random.default_rng(0).normal(size=30)
    assert mean_of_clips(values, seed=1) == mean_of_clips(values, seed=1)
    assert mean_of_clips(values, seed=1).low != mean_of_clips(values, seed=2).low


def test_the_interval_of_a_mean_covers_the_true_mean_as_often_as_it_says():
    random = np.random.default_rng(7)
    covered = 0
    for trial in range(TRIALS):
        estimate = mean_of_clips(random.normal(5.0, 2.0, 40), seed=trial)
        covered += estimate.low <= 5.0 <= estimate.high
    assert LOWEST_COVERED <= covered < TRIALS


def test_one_clip_has_no_width():
    assert mean_of_clips(np.array([3.0]), seed=0) == Estimate(3.0, 3.0, 3.0)


def test_an_interval_leaves_out_what_could_not_be_resampled():
    assert percentile_interval(np.array([np.nan, 1.0, 2.0]), level=1.0) == (1.0, 2.0)
    assert percentile_interval(np.arange(101.0), level=0.9) == pytest.approx((5.0, 95.0))


class TestClips:
    CLIPS = np.array([0, 0, 0, 1, 2, 2, 3, 3, 3, 3])
    VALUES = np.array([5.0, 1.0, 4.0, 2.0, 9.0, 7.0, 3.0, 3.5, 8.0, 6.0])

    def test_every_clip_is_drawn_as_often_as_the_others(self):
        counts = np.concatenate(list(ClipResampling(clips=5, seed=0).counts()))
        assert counts.shape == (2000, 5)
        assert (counts.sum(axis=1) == 5).all()
        # 10,000 draws: a fifth of them within five standard deviations of 40.
        assert np.abs(counts.sum(axis=0) - 2000).max() < 200

    def test_draws_do_not_depend_on_the_size_of_the_blocks(self):
        resampling = ClipResampling(clips=4, seed=1, resamples=50)
        whole, small = (np.concatenate(list(resampling.counts(n))) for n in (1.0, 100_000.0))
        assert np.array_equal(whole, small)

    def test_a_median_is_that_of_the_repeated_frames(self):
        resampling = ClipResampling(clips=4, seed=2, resamples=FEW)
        estimate = estimate_median(self.VALUES, self.CLIPS, resampling)
        slow = [
            np.median(np.concatenate([self.VALUES[clip == self.CLIPS] for clip in np.repeat(range(4), drawn)]))
            for drawn in np.concatenate(list(resampling.counts()))
        ]
        assert estimate.value == np.median(self.VALUES)
        assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])))

    def test_a_ratio_is_that_of_the_drawn_totals(self):
        resampling = ClipResampling(clips=3, seed=3, resamples=FEW)
        hits, frames = np.array([1.0, 0.0, 4.0]), np.array([2.0, 10.0, 4.0])
        estimate = estimate_ratio(hits, frames, resampling)
        slow = [(drawn * hits).sum() / (drawn * frames).sum() for drawn in np.concatenate(list(resampling.counts()))]
        assert estimate.value == 5.0 / 16.0
        assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])))

    def test_equal_frames_of_a_clip_do_not_narrow_the_interval(self):
        few, many = (np.repeat([0.0, 1.0, 2.0, 3.0], n) for n in (1, 50))
        resampling = ClipResampling(clips=4, seed=4, resamples=FEW)
        assert estimate_median(few, np.arange(4), resampling) == estimate_median(
            many, np.repeat(range(4), 50), resampling
        )

    def test_abstentions_are_left_out_of_a_median(self):
        resampling = ClipResampling(clips=3, seed=5, resamples=FEW)
        assert estimate_median(np.array([2.0, np.nan, 2.0]), np.arange(3), resampling).value == 2.0
        assert np.isnan(estimate_median(np.full(3, np.nan), np.arange(3), resampling).value)

    def test_no_clips_have_no_estimate(self):
        nothing = ClipResampling(clips=0, seed=0, resamples=FEW)
        assert np.isnan(estimate_ratio(np.zeros(0), np.zeros(0), nothing).low)
        assert np.isnan(estimate_median(np.zeros(0), np.zeros(0, int), nothing).high)

    def test_a_resample_without_any_value_has_no_statistic(self):
        resampling = ClipResampling(clips=2, seed=6, resamples=FEW)
        drawn = np.concatenate(list(resampling.counts()))
        only_first = drawn[:, 1] == 0
        ratios = resampled_ratios(np.array([0.0, 3.0]), np.array([0.0, 4.0]), resampling)
        medians = resampled_medians(np.array([np.nan, 7.0]), np.arange(2), resampling)
        assert np.array_equal(np.isnan(ratios), only_first)
        assert np.array_equal(np.isnan(medians), only_first)
        assert set(ratios[~only_first]) == {0.75}
        assert set(medians[~only_first]) == {7.0}

    def test_totals_of_other_clips_are_refused(self):
        with pytest.raises(ValueError, match="for 4 clips"):
            estimate_ratio(np.ones(3), np.ones(3), ClipResampling(clips=4, seed=0))
