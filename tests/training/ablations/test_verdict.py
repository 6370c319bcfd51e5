"""Scores, intervals and verdicts from made-up errors."""

import numpy as np
import pytest

from training.ablations.plan import Claim
from training.ablations.score import difference, flight_errors, score_row
from training.ablations.verdict import judge
from training.evaluation.predictions import PredictionInfo, join_clips
from vidtag_cli.geo.sphere import destination_latlon, haversine_km

FLIGHTS, FRAMES = 40, 4


def row(error_km, seeds=2, scatter=0.3):
    """Return the score of a row whose frames miss by about so many kilometres."""
    made = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        truth = np.stack([rng.uniform(-60, 60, (FLIGHTS, FRAMES)), rng.uniform(-180, 180, (FLIGHTS, FRAMES))], -1)
        miss_km = error_km * np.exp(rng.normal(0.0, scatter, (FLIGHTS, FRAMES)))
        found = destination_latlon(truth, rng.uniform(0, 360, (FLIGHTS, FRAMES)), miss_km)
        keys = [str(number) for number in range(FLIGHTS)]
        made.append(flight_errors([join_clips(PredictionInfo("m", "d", "g"), keys, list(truth), list(found))]))
    return score_row(made), made


def test_a_score_is_the_mean_over_seeds_of_the_plain_metric():
    score, seeds = row(100.0)
    medians = [float(np.median(each.errors_km)) for each in seeds]
    assert score.by_seed["median_km"] == pytest.approx(medians)
    assert score.mean("median_km") == pytest.approx(np.mean(medians))
    assert score.spread("median_km") == pytest.approx(np.std(medians, ddof=1))
    assert score.mean("within_100") == pytest.approx(np.mean([(each.errors_km <= 100.0).mean() for each in seeds]))
    low, high = score.interval("median_km")
    assert low < score.mean("median_km") < high
    assert high - low < 30.0


def test_the_interval_narrows_with_certainty_not_with_seeds():
    wide, narrow = row(100.0, scatter=1.0)[0], row(100.0, scatter=0.1)[0]
    span = [high - low for low, high in (score.interval("median_km") for score in (wide, narrow))]
    assert span[0] > 4.0 * span[1]


def test_errors_are_those_of_the_sphere():
    truth = np.array([[[0.0, 179.9], [0.0, 179.9]]])
    found = np.array([[[0.0, -179.9], [0.0, 179.9]]])
    errors = flight_errors([join_clips(PredictionInfo("m", "d", "g"), ["a"], list(truth), list(found))])
    assert errors.errors_km[0] == pytest.approx([float(haversine_km(truth[0, 0], found[0, 0])), 0.0])
    assert errors.errors_km[0, 0] < 25.0


def test_differences_are_paired():
    """A row against itself differs by nothing, however wide its own interval is."""
    score, _ = row(100.0, scatter=1.0)
    same = difference(score, score, "median_km")
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


CLAIM = Claim("good is better", ("good", "bad"), paper="4",
              paper_rows=("DINOv2 + TempGeo", "DINOv2"))  # fmt: skip


def test_the_same_claim_holds_or_not_by_the_numbers_alone():
    good, bad = row(50.0)[0], row(100.0)[0]
    holds = judge(CLAIM, {"good": good, "bad": bad})
    assert holds.holds is True
    assert holds.sentence.startswith("**holds**: good is better")
    assert "above 0 in 2 of 2 seeds" in holds.sentence
    assert "includes 0" not in holds.sentence
    assert "1.91 < 2.13 km" in holds.sentence
    fails = judge(CLAIM, {"good": bad, "bad": good})
    assert fails.holds is False
    assert fails.sentence.startswith("**does not hold**: good is better")
    assert "above 0 in 0 of 2 seeds" in fails.sentence


def test_a_difference_that_chance_explains_is_called_so():
    near = [row(error, scatter=1.0)[0] for error in (100.0, 100.5)]
    verdict = judge(CLAIM, {"good": near[0], "bad": near[1]})
    low, high = near[0].interval("median_km")
    assert low < near[1].mean("median_km") < high
    assert verdict.holds is True


def test_every_step_of_an_ordering_counts():
    rows = {"a": row(50.0)[0], "b": row(200.0)[0], "c": row(100.0)[0]}
    assert judge(Claim("c", ("a", "c", "b")), rows).holds is True
    assert judge(Claim("c", ("a", "b", "c")), rows).holds is False
    assert judge(Claim("c", ("a", "d")), rows).holds is None
