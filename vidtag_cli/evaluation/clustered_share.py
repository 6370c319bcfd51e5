"""The share of frames for which something holds, with an interval that knows that frames of a clip err alike."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from vidtag_cli.evaluation.bootstrap import LEVEL, Estimate

FEW_CLIPS = 60
"""With fewer, the spread among clips is not known: three clips in a hundred that are wholly wrong may not be among
them. Each then counts as one frame at most.
"""

_STEPS = 60
"""Halvings of [0, 1]: to the last bit of a float64."""

_MOST_TERMS = 10_000
_TINY = 1e-300


def estimate_share(hits: np.ndarray, counts: np.ndarray, level: float = LEVEL) -> Estimate:
    """Return the share of all frames that are hits, and its interval, from hits (C,) among the frames (C,) of clips.

    The interval is exact in the way of Clopper and Pearson (1934) for as many independent frames as tell the share as
    well as these clips do (Korn and Graubard 1998), with Student's quantile for the spread seen among clips. Where
    clips are few, or all frames are hits, or none is, every clip counts as one frame: a bootstrap over clips would give
    an interval that is too narrow there, or without width. All NaN without a frame.
    """
    is_used = counts > 0
    hits, counts = hits[is_used].astype(np.float64), counts[is_used].astype(np.float64)
    if not len(counts):
        return Estimate(math.nan, math.nan, math.nan)
    share = float(hits.sum() / counts.sum())
    frames = _independent_frames(share, hits, counts, level)
    tail = (1.0 - level) / 2.0
    found = share * frames
    low = 0.0 if share == 0.0 else _beta_quantile(tail, found, frames - found + 1.0)
    high = 1.0 if share == 1.0 else _beta_quantile(1.0 - tail, found + 1.0, frames - found)
    return Estimate(share, low, high)


def _independent_frames(share: float, hits: np.ndarray, counts: np.ndarray, level: float) -> float:
    """Return how many independent frames would tell the share as well as these of C clips."""
    clips = len(counts)
    variance = float(((hits - share * counts) ** 2).sum() / counts.sum() ** 2)
    if clips < 2 or variance == 0.0:
        return float(clips)
    variance *= clips / (clips - 1)
    frames = min(share * (1.0 - share) / variance, float(clips if clips < FEW_CLIPS else counts.sum()))
    return frames * (NormalDist().inv_cdf((1.0 + level) / 2.0) / _student_quantile(clips - 1, level)) ** 2


def _student_quantile(degrees: int, level: float) -> float:
    """Return the two-sided quantile of Student's t: its square is F(1, degrees), and that a ratio of beta's."""
    part = _beta_quantile(level, 0.5, degrees / 2.0)
    return math.sqrt(degrees * part / (1.0 - part))


def _beta_quantile(probability: float, a: float, b: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if beta_probability(middle, a, b) < probability else (low, middle)
    return (low + high) / 2.0


def beta_probability(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b) by its continued fraction (DLMF 8.17.22)."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - beta_probability(1.0 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    # Lentz's method: c and d are the ratios of successive numerators and denominators of the convergents.
    c, d = 1.0, 1.0 / max(1.0 - (a + b) * x / (a + 1.0), _TINY)
    fraction = d
    for m in range(1, _MOST_TERMS):
        before = fraction
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _nonzero(1.0 + term * d)
            c = _nonzero(1.0 + term / c)
            fraction *= c * d
        if abs(fraction - before) <= 1e-15 * abs(fraction):
            break
    return front * fraction / a


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
