"""A verdict is given only for numbers that carry it, and its words say no more than they do."""

import itertools
import math

import pytest

from vidtag_cli.commands.check import EXIT_OF_VERDICT, VERDICT_SENTENCES
from vidtag_cli.pipeline.claim_verdict import FALSE_ALARM, KINDS, LEAST_POWER, ClaimTables, judge, verbal_support

CLIPS = 100


def tables(off_by=10.0):
    """True claims score from 0 to 9.9; false ones ``off_by`` less. Ratios 1/50 below 0.45, 1/5 below 2, 5 above."""
    true = tuple(number / 10 for number in range(CLIPS))
    statistics = {kind: true if kind == "true" else tuple(value - off_by for value in true) for kind in KINDS}
    return ClaimTables(100.0, statistics, (0.45, 2.0), (-math.log10(50), -math.log10(5), math.log10(5)))


@pytest.mark.parametrize(
    ("off_by", "statistic", "shots"),
    [*itertools.product((10.0, 0.1), (-50.0, 0.1, 0.35, 0.5, 1.0, 1.9, 2.1, 99.0), (1, 3))],
)
def test_every_verdict_has_numbers_that_carry_it(off_by, statistic, shots):
    measured = tables(off_by)
    judgement = judge(measured, statistic, shots)
    if judgement.verdict == "inconsistent":
        assert judgement.p_value <= FALSE_ALARM
        assert judgement.likelihood_ratio < 1.0
        assert "hypothesis 2" in judgement.support
    if judgement.verdict == "consistent":
        assert judgement.p_value > FALSE_ALARM
        assert judgement.likelihood_ratio >= 1.0
        assert "hypothesis 2" not in judgement.support
    if judgement.verdict != "cannot say":
        assert measured.power("off_3000") >= LEAST_POWER


def test_all_verdicts_occur():
    assert judge(tables(), -50.0, 1).verdict == "inconsistent"
    assert judge(tables(), 9.0, 1).verdict == "consistent"
    assert judge(tables(), 1.0, 1).verdict == "cannot say"  # 10 % of true claims so low, and yet a ratio below 1
    assert judge(tables(0.1), 9.0, 1).verdict == "cannot say"  # false claims score as true ones


def test_the_least_of_many_shots_is_low_more_often():
    one, ten = judge(tables(), 0.2, 1), judge(tables(), 0.2, 10)
    assert (one.verdict, ten.verdict) == ("inconsistent", "cannot say")
    assert ten.p_value == pytest.approx(10 * one.p_value)


def test_the_p_value_is_corrected_for_the_number_of_clips():
    assert tables().p_value(-50.0) == 1 / (CLIPS + 1)
    assert tables().p_value(99.0) == 1.0
    assert tables().p_value(0.0) == 2 / (CLIPS + 1)


def test_no_verdict_says_confirmed():
    for words in (*VERDICT_SENTENCES, *VERDICT_SENTENCES.values()):
        assert not any(word in words for word in ("confirm", "prove", "true place"))
    assert VERDICT_SENTENCES.keys() == EXIT_OF_VERDICT.keys()
    assert "does not show that it is true" in VERDICT_SENTENCES["consistent"]


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (1.0, "no support"), (1.9, "no support"), (0.6, "no support"), (5.0, "weak support for hypothesis 1"),
        (0.05, "moderate support for hypothesis 2"), (500.0, "moderately strong support for hypothesis 1"),
        (5e3, "strong support"), (1e-5, "very strong support for hypothesis 2"), (1e9, "extremely strong"),
    ],
)  # fmt: skip
def test_words_are_those_of_the_scale(ratio, words):
    assert verbal_support(ratio).startswith(words)


def test_the_power_counts_verdicts_and_not_shares_alone():
    """What scores as no true claim does, but as no false one either, is not found inconsistent."""
    unclear = ClaimTables(100.0, tables().statistics, (), (math.log10(5),))
    assert judge(unclear, -50.0, 1).verdict == "cannot say"
    assert unclear.power("off_100") == 0.0
    assert tables().power("off_100") == 1.0
