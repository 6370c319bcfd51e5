"""Sixteen of N frames: one of each cell, in order, none twice."""

from __future__ import annotations

import numpy as np
import pytest

from training.features.clips import centre_frames, draw_frames

COUNTS = [16, 17, 23, 31, 32, 33, 100, 494]


@pytest.mark.parametrize("count", COUNTS)
def test_one_draw_of_each_cell(count: int) -> None:
    rng = np.random.default_rng(3)
    edges = [cell * count // 16 for cell in range(17)]
    drawn = np.array([draw_frames(count, rng) for _ in range(300)])
    for cell, (begin, end) in enumerate(zip(edges, edges[1:], strict=False)):
        assert set(drawn[:, cell]) == set(range(begin, end))  # every frame can come, and none of another cell
    assert np.all(np.diff(drawn, axis=1) > 0)


def test_as_many_as_wanted_are_all() -> None:
    assert draw_frames(16, np.random.default_rng(0)).tolist() == list(range(16))
    assert centre_frames(16).tolist() == list(range(16))


def test_draws_are_seeded() -> None:
    one, same, other = (draw_frames(400, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_centres_are_in_the_middle() -> None:
    assert centre_frames(48).tolist() == list(range(1, 48, 3))
    assert centre_frames(8, 2).tolist() == [1, 5]
    assert centre_frames(9, 1).tolist() == [4]


@pytest.mark.parametrize(("count", "frames"), [(15, 16), (0, 1), (4, 0)])
def test_too_few_frames_are_refused(count: int, frames: int) -> None:
    with pytest.raises(ValueError, match="cannot be taken"):
        draw_frames(count, np.random.default_rng(0), frames)
