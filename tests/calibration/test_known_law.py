"""Clips whose errors follow a law that is known: does the true coverage lie in the interval that is stated?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from vidtag_cli.calibration.circles import measure_circles, radius_tables

NAMES = ("edges", "half", "most")
CLIPS, FRAMES, FRESH_CLIPS = 60, 16, 4000
RUNS, AT_LEAST = 20, 18


@dataclass(frozen=True)
class Law:
    """Errors of frames: a clip's own factor, a frame's own, more where doubt is high; some clips are wholly wrong."""

    clip_spread: float
    wrong_clips: float

    def frames(self, clips: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return doubt, error in km and clip, each (clips * FRAMES,)."""
        clip = np.arange(clips).repeat(FRAMES)
        doubt = random.gamma(4.0, 1.0, clips)[clip] + random.gamma(1.0, 1.0, len(clip))
        logarithm = random.normal(0.0, self.clip_spread, clips)[clip] + random.normal(0.0, 0.3, len(clip))
        is_wrong = (random.random(clips) < self.wrong_clips)[clip]
        return doubt, np.where(is_wrong, 5000.0, 10.0 * doubt * np.exp(logarithm)), clip


def stated_and_true(law: Law, seed: int) -> tuple[dict[str, float], float]:
    """Return what is measured of tables fitted on some clips, and the coverage among thousands of fresh ones."""
    random = np.random.default_rng((15, seed))
    doubt, errors_km, clip = law.frames(CLIPS, random)
    tables = radius_tables(NAMES, doubt, errors_km, clip, np.ones(len(clip), bool), 3)
    stated, true = (
        measure_circles(NAMES, tables, doubt, errors_km, clip, np.ones(len(clip), bool), np.inf)
        for doubt, errors_km, clip in (law.frames(CLIPS, random), law.frames(FRESH_CLIPS, random))
    )
    return stated, true["coverage95"]


@pytest.mark.parametrize("law", [Law(0.0, 0.0), Law(0.7, 0.0), Law(0.3, 0.03)], ids=["apart", "alike", "wholly wrong"])
def test_the_true_coverage_lies_in_the_stated_interval(law: Law) -> None:
    runs = [stated_and_true(law, seed) for seed in range(RUNS)]
    held = [stated["coverage95_low"] <= true <= stated["coverage95_high"] for stated, true in runs]
    assert sum(held) >= AT_LEAST
    assert np.mean([true for _, true in runs]) >= 0.945  # conformal: 95 % on average over calibrations
