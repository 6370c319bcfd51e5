"""A share of frames with its interval by clip: against scipy's beta, and where a bootstrap would have no width."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import beta, binomtest

from vidtag_cli.evaluation.clustered_share import FEW_CLIPS, beta_probability, estimate_share


@pytest.mark.parametrize(("x", "a", "b"), [(0.5, 19.0, 2.0), (0.98, 400.0, 20.3), (1e-4, 0.5, 30.0), (0.9, 1.0, 1.0)])
def test_the_beta_distribution_is_scipys(x: float, a: float, b: float) -> None:
    assert beta_probability(x, a, b) == pytest.approx(beta.cdf(x, a, b), rel=1e-12)


def test_clips_of_one_mind_are_so_many_coins() -> None:
    """Forty clips, two of them wholly wrong: Clopper and Pearson for 38 of 40, whatever the number of frames."""
    hits = np.where(np.arange(40) < 2, 0, 16)
    estimate = estimate_share(hits, np.full(40, 16))
    exact = binomtest(38, 40).proportion_ci(method="exact")
    assert estimate.value == 0.95
    assert estimate.low <= exact.low
    assert estimate.high >= exact.high
    assert estimate.low == pytest.approx(exact.low, abs=0.01)


@pytest.mark.parametrize(("hit", "low", "high"), [(16, 0.83157, 1.0), (0, 0.0, 0.16843)])
def test_twenty_clips_that_agree_prove_no_certainty(hit: int, low: float, high: float) -> None:
    estimate = estimate_share(np.full(20, hit), np.full(20, 16))
    assert (estimate.low, estimate.high) == (pytest.approx(low, abs=1e-5), pytest.approx(high, abs=1e-5))


def test_frames_apart_tell_more_than_clips_once_these_are_many() -> None:
    hits = np.random.default_rng(1).binomial(16, 0.95, FEW_CLIPS)
    many = estimate_share(hits, np.full(FEW_CLIPS, 16))
    few = estimate_share(hits[1:], np.full(FEW_CLIPS - 1, 16))
    assert many.high - many.low < 0.6 * (few.high - few.low)


def test_clips_without_a_frame_say_nothing() -> None:
    assert math.isnan(estimate_share(np.zeros(3), np.zeros(3)).value)
    with_empty = estimate_share(np.array([5, 0, 4]), np.array([5, 0, 5]))
    assert with_empty == estimate_share(np.array([5, 4]), np.array([5, 5]))
