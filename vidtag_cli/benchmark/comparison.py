"""Is a benchmark faster than a saved one? A rank test over their rounds, so that noise is not taken for progress."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import comb
from typing import Literal

SIGNIFICANCE = 0.05

RULE = (
    "faster or slower where a two-sided Mann-Whitney test over the wall times of the rounds gives p < "
    f"{SIGNIFICANCE:g}, else same; it takes four rounds on either side to get below that"
)

Verdict = Literal["faster", "slower", "same"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One stage now against the same stage before: ``speedup`` is the saved median / the median now."""

    stage: str
    verdict: Verdict
    p_value: float
    speedup: float
    now_min_max_s: tuple[float, float]
    saved_min_max_s: tuple[float, float]


def compare(stage: str, now_s: Sequence[float], saved_s: Sequence[float]) -> Comparison:
    """Return whether the wall seconds of the rounds now are smaller than those saved, by :data:`RULE`."""
    p_value = mann_whitney_p(now_s, saved_s)
    now_median_s, saved_median_s = statistics.median(now_s), statistics.median(saved_s)
    verdict: Verdict = "same"
    if p_value < SIGNIFICANCE:
        verdict = "faster" if now_median_s < saved_median_s else "slower"
    speedup = saved_median_s / now_median_s if now_median_s > 0.0 else 1.0
    return Comparison(stage, verdict, p_value, speedup, (min(now_s), max(now_s)), (min(saved_s), max(saved_s)))


def mann_whitney_p(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the exact two-sided p-value of the Mann-Whitney test; a tie counts half a win, rounded to the middle."""
    wins = sum(1.0 if a < b else 0.5 if a == b else 0.0 for a in ours for b in theirs)
    pairs = len(ours) * len(theirs)
    extreme = int(min(wins, pairs - wins) + 0.5)
    ways = sum(_orders(len(ours), len(theirs), u) for u in range(extreme + 1))
    return min(1.0, 2.0 * ways / comb(len(ours) + len(theirs), len(ours)))


@cache
def _orders(ours: int, theirs: int, wins: int) -> int:
    """Return in how many orders of two samples exactly ``wins`` pairs are won: the recursion on who comes last."""
    if wins < 0:
        return 0
    if ours == 0 or theirs == 0:
        return int(wins == 0)
    return _orders(ours - 1, theirs, wins) + _orders(ours, theirs - 1, wins - ours)
