from __future__ import annotations

import numpy as np
import pytest

from vidtag_cli.pipeline.gather import gather_outputs


@pytest.mark.parametrize("frames", [1, 4, 7, 100])
def test_nothing_is_lost_and_parts_are_long_enough(frames: int) -> None:
    everything = np.arange(30)
    parts = [{"a": everything[i : i + 3], "b": everything[i : i + 3, None] * 2.0} for i in range(0, 30, 3)]
    gathered = list(gather_outputs(parts, frames))
    assert all(len(part["a"]) >= frames for part in gathered[:-1])
    np.testing.assert_array_equal(np.concatenate([part["a"] for part in gathered]), everything)
    np.testing.assert_array_equal(np.concatenate([part["b"] for part in gathered])[:, 0], everything * 2.0)


def test_no_window_no_output() -> None:
    assert list(gather_outputs([], 5)) == []
