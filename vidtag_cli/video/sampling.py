"""Which frames are used of a video that is sampled: the first one at or after each multiple of a step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

SAMPLING_TOLERANCE_S = 0.001
"""Matroska rounds times to 1 ms, so a frame may stand that much before the sampling time it was made for."""


@dataclass(slots=True)
class SamplingGrid:
    """The multiples of 1/``sampling_fps`` s from the time ``origin_pts``, in ticks of ``time_base``.

    ffmpeg itself leaves out what is not used, by ``expression``; but it forgets what it has used when pictures change
    their size, and begins again. ``is_used`` knows better.
    """

    sampling_fps: float
    origin_pts: int
    time_base: Fraction
    _latest_step: float = field(default=-math.inf, init=False)

    def is_used(self, pts: int) -> bool:
        """Return whether a frame is the first of its step, as all before it were asked about too."""
        tick_s = self.time_base.numerator / self.time_base.denominator
        elapsed_s = pts * tick_s - self.origin_pts * tick_s
        step = math.floor((elapsed_s + tolerance_s(self.sampling_fps)) * self.sampling_fps)
        is_first = step > self._latest_step
        self._latest_step = max(step, self._latest_step)
        return is_first

    @property
    def expression(self) -> str:
        """The condition for ffmpeg's ``select``.

        It goes by presentation times, so it holds for a variable frame rate, and never repeats a frame to fill a gap.
        """
        rate_fps = float(self.sampling_fps)  # a numpy float would print its type
        origin_s = self.origin_pts * (self.time_base.numerator / self.time_base.denominator)
        step = "floor(({time}-(" + f"{origin_s!r})+{tolerance_s(rate_fps)!r})*{rate_fps!r})"
        now, before = step.format(time="t"), step.format(time="prev_selected_t")
        return f"isnan(prev_selected_t)+gt({now},{before})"


def tolerance_s(sampling_fps: float) -> float:
    """Return by how much a frame may come before its step, in seconds."""
    return min(SAMPLING_TOLERANCE_S, 0.1 / float(sampling_fps))
