from __future__ import annotations

import numpy as np
import pytest

from vidtag_cli.evaluation.bootstrap import bootstrap_ci

# 100 trials with fixed seeds of a 95 % interval: a right one covers at least 87 with probability 0.999; the percentile
# interval of 40 values is known to fall one or two per cent short.
TRIALS, LOWEST_COVERED = 100, 85
FEW = 100


def test_equal_seeds_give_equal_intervals():
    values = np.random.default_rng(0).normal(size=30)
    assert bootstrap_ci(values, np.mean, seed=1, resamples=FEW) == bootstrap_ci(values, np.mean, seed=1, resamples=FEW)
    assert bootstrap_ci(values, np.mean, seed=1, resamples=FEW) != bootstrap_ci(values, np.mean, seed=2, resamples=FEW)


def test_the_interval_of_a_mean_covers_the_true_mean_as_often_as_it_says():
    random = np.random.default_rng(7)
    covered = 0
    for trial in range(TRIALS):
        low, high = bootstrap_ci(random.normal(5.0, 2.0, 40), lambda v: float(v.mean()), seed=trial, resamples=FEW)
        covered += low <= 5.0 <= high
    assert LOWEST_COVERED <= covered < TRIALS


def test_one_value_has_no_width():
    assert bootstrap_ci(np.array([3.0]), np.median, seed=0, resamples=FEW) == (3.0, 3.0)


def test_rows_stay_together():
    rows = np.array([(1.0, 10.0), (2.0, 20.0)])
    assert bootstrap_ci(rows, lambda v: float(np.max(np.abs(v[:, 1] - 10.0 * v[:, 0]))), seed=0, resamples=FEW) == (
        0.0,
        0.0,
    )


@pytest.mark.parametrize("values", [[], [1.0, float("nan")]])
def test_no_values_and_nan_are_refused(values):
    with pytest.raises(ValueError):
        bootstrap_ci(np.array(values), np.mean, seed=0)
