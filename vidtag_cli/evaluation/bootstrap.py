"""Confidence intervals of a statistic by resampling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95

_BLOCK = 2_000_000
"""Numbers held at once while resampling."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic and the ends of its confidence interval; all NaN when there is nothing to estimate it from."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ClipResampling:
    """How whole clips are drawn with replacement: their frames are not independent, they are.

    Two statistics of one resampling see the same draws, so models judged on the same clips are compared in pairs.
    """

    clips: int
    seed: int
    resamples: int = RESAMPLES
    level: float = LEVEL

    def counts(self, numbers_per_clip: float = 1.0) -> Iterator[np.ndarray]:
        """Yield blocks (resamples, clips) int64 that say how often each clip was drawn; the draws depend on the seed
        alone.

        A block is small enough for arrays of ``numbers_per_clip`` times its size.
        """
        random = np.random.default_rng(self.seed)
        rows = max(1, int(_BLOCK / (self.clips * max(1.0, numbers_per_clip))))
        for begin in range(0, self.resamples, rows):
            count = min(rows, self.resamples - begin)
            drawn = random.integers(0, self.clips, (count, self.clips)) + np.arange(count)[:, None] * self.clips
            yield np.bincount(drawn.ravel(), minlength=count * self.clips).reshape(count, self.clips)


def estimate_ratio(sums: np.ndarray, counts: np.ndarray, resampling: ClipResampling) -> Estimate:
    """Return the ratio of the totals of per-clip ``sums`` (C,) and ``counts`` (C,): the share or mean over all frames.

    Give ones as counts for a mean over clips. A resample whose counts add up to nothing is left out.
    """
    if len(sums) != resampling.clips or len(counts) != resampling.clips:
        raise ValueError(f"{len(sums)} sums and {len(counts)} counts for {resampling.clips} clips")
    if counts.sum() == 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    ratios = resampled_ratios(sums, counts, resampling)
    return Estimate(float(sums.sum() / counts.sum()), *percentile_interval(ratios, resampling.level))


def estimate_median(values: np.ndarray, clip_of_value: np.ndarray, resampling: ClipResampling) -> Estimate:
    """Return the median of ``values`` (N,) whose clips (N,) are numbered from 0; NaN (an abstention) is left out."""
    located = values[~np.isnan(values)]
    if len(located) == 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    medians = resampled_medians(values, clip_of_value, resampling)
    return Estimate(float(np.median(located)), *percentile_interval(medians, resampling.level))


def resampled_ratios(sums: np.ndarray, counts: np.ndarray, resampling: ClipResampling) -> np.ndarray:
    """Return (R,) ratios of the totals of ``sums`` (C,) and ``counts`` (C,) over redrawn clips; NaN where the counts
    add up to nothing.
    """
    totals = [(drawn @ sums, drawn @ counts) for drawn in resampling.counts()]
    numerators, denominators = (np.concatenate(part) for part in zip(*totals, strict=True))
    ratios = np.full(len(numerators), np.nan)
    np.divide(numerators, denominators, out=ratios, where=denominators > 0)
    return ratios


def resampled_medians(values: np.ndarray, clip_of_value: np.ndarray, resampling: ClipResampling) -> np.ndarray:
    """Return (R,) medians of the ``values`` (N,) of redrawn clips, NaN among the values left out; NaN where the drawn
    clips have none.
    """
    kept = ~np.isnan(values)
    order = np.argsort(values[kept], kind="stable")
    ordered, clips = values[kept][order], clip_of_value[kept][order]
    blocks = resampling.counts(len(ordered) / resampling.clips)
    return np.concatenate([_weighted_medians(ordered, drawn[:, clips]) for drawn in blocks])


def percentile_interval(statistics: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Return the ends of the percentile interval (Efron 1979) of resampled statistics (R,); NaN is left out."""
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(statistics[~np.isnan(statistics)], [tail, 1.0 - tail])
    return float(low), float(high)


def _weighted_medians(ordered: np.ndarray, repeats: np.ndarray) -> np.ndarray:
    """Return (R,) medians of rising values (N,) each repeated as often as a row of (R, N) says; NaN for never."""
    reached = np.cumsum(repeats, axis=1)
    medians = np.full(len(repeats), np.nan)
    for row in np.flatnonzero(reached[:, -1]):
        total = int(reached[row, -1])
        middle = np.searchsorted(reached[row], [(total - 1) // 2, total // 2], side="right")
        medians[row] = ordered[middle].mean()
    return medians
