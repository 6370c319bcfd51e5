from __future__ import annotations

from itertools import combinations

import pytest

from vidtag_cli.benchmark.record import SIGNIFICANCE, compare, mann_whitney_p


def p_by_counting(ours: list[float], theirs: list[float]) -> float:
    """Return the p-value by going through every way in which the pooled values could have been dealt."""
    pooled = sorted(ours + theirs)

    def wins(chosen: tuple[int, ...]) -> int:
        left = [pooled[i] for i in range(len(pooled)) if i not in chosen]
        return sum(pooled[i] < other for i in chosen for other in left)

    pairs = len(ours) * len(theirs)
    seen = sum(a < b for a in ours for b in theirs)
    extreme = min(seen, pairs - seen)
    dealt = [wins(chosen) for chosen in combinations(range(len(pooled)), len(ours))]
    return min(1.0, 2.0 * sum(count <= extreme for count in dealt) / len(dealt))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]), ([1, 4, 6], [2, 3, 5, 7]), ([3, 1, 8, 9], [2, 7, 4, 5, 6]), ([2], [1])],
)
def test_the_p_value_is_that_of_every_possible_deal(ours: list[float], theirs: list[float]) -> None:
    assert mann_whitney_p(ours, theirs) == pytest.approx(p_by_counting(ours, theirs))
    assert mann_whitney_p(theirs, ours) == pytest.approx(mann_whitney_p(ours, theirs))


def test_equal_rounds_are_the_same() -> None:
    assert mann_whitney_p([1.0] * 5, [1.0] * 5) == 1.0


def test_faster_slower_same() -> None:
    quick, slow = [1.0, 1.1, 1.2, 1.3, 1.4], [1.5, 1.6, 1.7, 1.8, 1.9]
    assert compare("encode", quick, slow).verdict == "faster"
    assert compare("encode", slow, quick).verdict == "slower"
    assert compare("encode", quick, quick).verdict == "same"
    assert compare("encode", quick, slow).speedup == pytest.approx(1.7 / 1.2)
    mixed = compare("encode", [1.0, 1.9, 1.2, 1.8, 1.4], [1.1, 1.6, 1.7, 1.3, 1.5])
    assert (mixed.verdict, mixed.now_min_max_s) == ("same", (1.0, 1.9))


def test_three_rounds_are_never_enough_and_four_can_be() -> None:
    assert mann_whitney_p([1, 2, 3], [4, 5, 6]) > SIGNIFICANCE
    assert mann_whitney_p([1, 2, 3, 4], [5, 6, 7, 8]) < SIGNIFICANCE
