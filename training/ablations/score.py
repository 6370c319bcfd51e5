"""What a row is worth on a subset of flights: every metric over seeds, and resampled over flights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.evaluation.predictions import Predictions
from vidtag_cli.evaluation.bootstrap import (
    ClipResampling,
    Estimate,
    percentile_interval,
    resampled_medians,
    resampled_ratios,
)
from vidtag_cli.evaluation.metrics import frame_errors_km
from vidtag_cli.evaluation.trajectory import curve_distances

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
        return percentile_interval(self.resampled[metric])


def flight_errors(predictions: Sequence[Predictions]) -> FlightErrors:
    """Return the errors of predictions on flights of one length, laid end to end."""
    clips = [clip for each in predictions for clip in each.clips()]
    errors_km = np.stack([frame_errors_km(*clip) for clip in clips])  # (C, T)
    shares = {f"within_{limit:g}": (errors_km <= limit).mean(axis=1) for limit in THRESHOLDS_KM}
    return FlightErrors(errors_km, shares | curve_distances(clips))


def score_row(by_seed: Sequence[FlightErrors], seed: int = 0, resamples: int = RESAMPLES) -> RowScore:
    """Return the score of one row from its errors, one a seed, on the same flights."""
    flights = len(by_seed[0].errors_km)
    resampling = ClipResampling(flights, seed, resamples)
    values = {metric: tuple(_value(errors, metric) for errors in by_seed) for metric in METRICS}
    resampled = {
        metric: np.mean([_resample(errors, metric, resampling) for errors in by_seed], axis=0) for metric in METRICS
    }
    return RowScore(flights, by_seed[0].errors_km.size, values, resampled)


def difference(worse: RowScore, better: RowScore, metric: str) -> Estimate:
    """Return by how much one row's metric exceeds another's, with the interval over flights, drawn alike for both."""
    differences = worse.resampled[metric] - better.resampled[metric]
    return Estimate(worse.mean(metric) - better.mean(metric), *percentile_interval(differences))


def _value(errors: FlightErrors, metric: str) -> float:
    if metric == "median_km":
        return float(np.median(errors.errors_km))
    return float(errors.by_flight[metric].mean())


def _resample(errors: FlightErrors, metric: str, resampling: ClipResampling) -> np.ndarray:
    if metric == "median_km":
        flight_of_frame = np.repeat(np.arange(resampling.clips), errors.errors_km.shape[1])
        return resampled_medians(errors.errors_km.ravel(), flight_of_frame, resampling)
    return resampled_ratios(errors.by_flight[metric], np.ones(resampling.clips), resampling)
