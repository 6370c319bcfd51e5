"""Tables of claims: never more extreme than their clips allow, and the cost of likelihood ratios by its definition."""

import numpy as np
import pytest

from vidtag_cli.calibration.claims import (
    LEAST_CLIPS,
    claim_tables,
    fit_claims,
    fit_likelihood_ratio,
    least_cost,
    log_likelihood_ratio_cost,
)
from vidtag_cli.pipeline.claim_verdict import KINDS


def drawn(true=3.0, false=-3.0, clips=100, seed=0):
    rng = np.random.default_rng(seed)
    return {kind: rng.normal(true if kind == "true" else false, 1.0, clips) for kind in KINDS}


def test_ratios_rise_and_stay_within_the_number_of_clips():
    values = drawn(30.0, -30.0)
    edges, log10 = fit_likelihood_ratio(values["true"], values["random"])
    assert len(log10) == len(edges) + 1
    assert (np.diff(log10) >= 0).all()
    assert np.abs(log10).max() <= np.log10(100)


def test_claims_that_nothing_tells_apart_have_the_ratio_one():
    _, log10 = fit_likelihood_ratio(np.zeros(50), np.zeros(50))
    assert log10 == pytest.approx([0.0])


def test_p_values_of_further_true_claims_are_below_five_per_cent_no_more_often():
    tables = claim_tables(*fit_claims(drawn(clips=400), 100.0))
    further = np.random.default_rng(1).normal(3.0, 1.0, 2000)
    assert np.mean([tables.p_value(value) <= 0.05 for value in further]) == pytest.approx(0.05, abs=0.03)


def test_a_clip_that_the_gate_refused_counts_nowhere():
    values = drawn() | {"true": np.append(drawn()["true"], [np.nan, np.nan])}
    assert claim_tables(*fit_claims(values, 100.0)).clips == 100


def test_too_few_clips_are_refused():
    with pytest.raises(ValueError, match=f"{LEAST_CLIPS} are needed"):
        fit_claims(drawn(clips=LEAST_CLIPS - 1), 100.0)


def test_the_cost_is_one_bit_for_ratios_that_say_nothing_and_the_least_is_below_any():
    assert log_likelihood_ratio_cost(np.ones(5), np.ones(7)) == pytest.approx(1.0)
    values = drawn(1.0, -1.0)
    ratios = [np.exp(2.0 * values[kind]) for kind in ("true", "random")]  # the very ratios of these normals
    assert 0.0 < least_cost(values["true"], values["random"]) < log_likelihood_ratio_cost(*ratios) < 1.0
