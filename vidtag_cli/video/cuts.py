"""Cuts of an edited video (docs/method.md 3.3), from how much every decoded frame differs from the one before."""

from __future__ import annotations

from collections import deque

import numpy as np

MIN_DIFFERENCE = 0.7
"""Pixels of two pictures that have nothing to do with each other differ by 1 to 1.5 times what those of one picture
do from their mean: at least 0.88 at some 240 cuts between real clips, by day and by night, and at most 0.5 where
the same clips have a difference that stands out without a cut.
"""

MIN_PROMINENCE = 1.5
"""A cut differs at least so many times as much as the steps right before and after it: 2.3 as a rule. In a video with
seconds between its frames every step may be as large as a cut, and none stands out: 1.2.
"""

MIN_SPREAD_LEVELS = 2.5
"""The spread of the brightness in a frame counts for at least so much: the noise in a black one makes no cuts."""


class CutFinder:
    """Says which shot each decoded frame belongs to, as soon as the frame after it is known.

    A cut is a difference that stands out from its neighbours on both sides. So a flash or a broken picture of one frame
    is none; one of two frames is a shot. A dissolve or a fade is not found, and neither is a cut at the second frame or
    at the last. Frames are numbered from 0 in order of presentation; memory does not grow with their number.
    """

    def __init__(self) -> None:
        self._previous = np.empty((0, 0, 0), np.uint8)
        self._frames = 0
        self._is_finished = False
        self._differences: deque[float] = deque(maxlen=3)
        self._cuts: deque[int] = deque()  # first frames of shots that nobody has asked for yet
        self._shot = 0

    def add(self, thumbnails: np.ndarray) -> None:
        """Take the brightness (n, H, W) uint8 of the next ``n`` decoded frames."""
        if len(thumbnails) == 0:
            return
        frames = np.concatenate([self._previous, thumbnails]) if self._frames else thumbnails
        self._previous = thumbnails[-1:].copy()
        self._frames = self._frames or 1
        for difference in differences(frames).tolist():
            self._frames += 1
            self._differences.append(difference)
            if len(self._differences) == 3 and _stands_out(*self._differences):
                self._cuts.append(self._frames - 2)

    def finish(self) -> None:
        """Say that there are no more frames, so that the last one's shot is known too."""
        self._is_finished = True

    def shot_of(self, frame: int) -> int | None:
        """Return the number of a frame's shot, from 0, or None while it is not known. Frames are asked for in order."""
        if frame > self._frames - 2 and not self._is_finished:
            return None
        while self._cuts and self._cuts[0] <= frame:
            self._cuts.popleft()
            self._shot += 1
        return self._shot


def differences(thumbnails: np.ndarray) -> np.ndarray:
    """Return for every frame (n, H, W) uint8 but the first its mean absolute difference from the one before, (n - 1,)
    float64, over the mean absolute deviation of both from their means: without a unit, whatever their light.
    """
    levels = thumbnails.reshape(len(thumbnails), -1).astype(np.float64)
    spread = np.abs(levels - levels.mean(axis=1, keepdims=True)).mean(axis=1)
    pair_spread = np.maximum((spread[1:] + spread[:-1]) / 2.0, MIN_SPREAD_LEVELS)
    steps: np.ndarray = np.abs(np.diff(levels, axis=0)).mean(axis=1) / pair_spread
    return steps


def _stands_out(before: float, here: float, after: float) -> bool:
    return here >= max(MIN_DIFFERENCE, MIN_PROMINENCE * max(before, after))
