"""What a row is worth on a subset of flights: every metric over seeds, and resampled over flights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.evaluation.predictions import Predictions
from vidtag_cli.evaluation.bootstrap import LEVEL, Estimate
from vidtag_cli.evaluation.trajectory import discrete_frechet, mean_range_difference
from vidtag_cli.geo.sphere import haversine_km

THRESHOLDS_KM = (25.0, 50.0, 100.0, 200.0)
METRICS = (
    "median_km", *(f"within_{limit:g}" for limit in THRESHOLDS_KM), "dfd_km", "dfd_deg", "mrd_km", "mrd_deg",
)  # fmt: skip
"""Names of the metrics; shares are in [0, 1]."""

RESAMPLES = 1000


@dataclass(frozen=True, slots=True, eq=False)
class FlightErrors:
    """One seed's errors on the same flights: ``errors_km`` (C, T) of the frames, ``by_flight`` metric -> (C,)."""

    errors_km: np.ndarray
    by_flight: dict[str, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class RowScore:
    """``by_seed`` metric -> one value a seed; ``resampled`` metric -> (R,) means over the seeds, flights redrawn.

    All rows of a subset redraw the same flights in the same way, so that differences of rows are paired.
    """

    flights: int
    frames: int
    by_seed: dict[str, tuple[float, ...]]
    resampled: dict[str, np.ndarray]

    def mean(self, metric: str) -> float:
        """Return the mean over the seeds."""
        return float(np.mean(self.by_seed[metric]))

    def spread(self, metric: str) -> float | None:
        """Return the standard deviation over the seeds; None for a single one."""
        values = self.by_seed[metric]
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    def interval(self, metric: str) -> tuple[float, float]:
        """Return the 95 % interval of the mean over the seeds, were other flights drawn."""
        return interval_of(self.resampled[metric])


def flight_errors(predictions: Sequence[Predictions]) -> FlightErrors:
    """Return the errors of predictions on flights of one length, laid end to end."""
    clips = [clip for each in predictions for clip in each.clips()]
    frechet = [discrete_frechet(*clip) for clip in clips]
    ranges = [mean_range_difference(*clip) for clip in clips]
    errors_km = np.stack([np.asarray(haversine_km(*clip)) for clip in clips])  # (C, T)
    by_flight = {f"within_{limit:g}": (errors_km <= limit).mean(axis=1) for limit in THRESHOLDS_KM}
    by_flight |= {"dfd_km": np.array([each.km for each in frechet]), "mrd_km": np.array([each.km for each in ranges])}
    by_flight["dfd_deg"] = np.array([each.degrees for each in frechet])
    by_flight["mrd_deg"] = np.array([each.degrees for each in ranges])
    return FlightErrors(errors_km, by_flight)


def score_row(by_seed: Sequence[FlightErrors], seed: int = 0, resamples: int = RESAMPLES) -> RowScore:
    """Return the score of one row from its errors, one a seed, on the same flights."""
    flights = len(by_seed[0].errors_km)
    drawn = np.random.default_rng(seed).integers(0, flights, (resamples, flights))  # (R, C)
    values = {metric: tuple(_value(errors, metric) for errors in by_seed) for metric in METRICS}
    resampled = {metric: np.mean([_resample(each, metric, drawn) for each in by_seed], axis=0) for metric in METRICS}
    return RowScore(flights, by_seed[0].errors_km.size, values, resampled)


def difference(worse: RowScore, better: RowScore, metric: str) -> Estimate:
    """Return by how much one row's metric exceeds another's, with the interval over flights, drawn alike for both."""
    low, high = interval_of(worse.resampled[metric] - better.resampled[metric])
    return Estimate(worse.mean(metric) - better.mean(metric), low, high)


def interval_of(resampled: np.ndarray) -> tuple[float, float]:
    """Return the ends of the percentile interval of resampled values (R,)."""
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(resampled, [tail, 1.0 - tail])
    return float(low), float(high)


def _value(errors: FlightErrors, metric: str) -> float:
    if metric == "median_km":
        return float(np.median(errors.errors_km))
    return float(errors.by_flight[metric].mean())


def _resample(errors: FlightErrors, metric: str, drawn: np.ndarray) -> np.ndarray:
    if metric == "median_km":
        return np.array([np.median(errors.errors_km[flights]) for flights in drawn])
    return errors.by_flight[metric][drawn].mean(axis=1)
