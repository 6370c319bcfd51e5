"""Confidence intervals of a statistic by resampling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95


def bootstrap_ci(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], float],
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Return the lower and upper end of the percentile interval (Efron 1979) of a statistic of (N, ...) values.

    Rows are drawn with replacement, so give one row per independent thing: videos rather than frames. Equal seeds
    give equal intervals. Raises ValueError for no values or NaN among them: what an abstention means is the caller's
    decision.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) == 0 or np.isnan(values).any():
        raise ValueError("a bootstrap needs at least one value and no NaN")
    random = np.random.default_rng(seed)
    statistics = [statistic(values[random.integers(0, len(values), len(values))]) for _ in range(resamples)]
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(statistics, [tail, 1.0 - tail])
    return float(low), float(high)
