"""What the statistic of a clip is worth: measured on clips of known places, never more than these allow
(docs/method.md 3.6).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vidtag_cli.bundle.load import ModelBundle
from vidtag_cli.errors import ModelError

Verdict = Literal["inconsistent", "consistent", "cannot say"]

FALSE_ALARM = 0.05
"""The share of true claims that may be called inconsistent."""

LEAST_POWER = 0.5
"""A test that misses more than half of the claims so far off says nothing by not objecting."""

OFF_KM = (10, 100, 300, 1000, 3000)
KINDS = ("true", *(f"off_{km}" for km in OFF_KM), "random", "hardest")
RADIUS, LR_EDGES, LR_LOG10 = "claim_radius_km", "claim_lr_edges", "claim_lr_log10"

# ENFSI Guideline for Evaluative Reporting in Forensic Science (2015), table of verbal equivalents.
SCALE = (
    (2.0, "no"), (10.0, "weak"), (100.0, "moderate"), (1e3, "moderately strong"), (1e4, "strong"),
    (1e6, "very strong"), (math.inf, "extremely strong"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClaimTables:
    """Statistics of whole held-out clips under each kind of claim, sorted; circles of ``radius_km``.

    The likelihood ratio is a rising step function of the statistic: ``lr_log10`` has one value more than ``lr_edges``.
    """

    radius_km: float
    statistics: Mapping[str, tuple[float, ...]]
    lr_edges: tuple[float, ...]
    lr_log10: tuple[float, ...]

    @property
    def clips(self) -> int:
        return len(self.statistics["true"])

    def p_value(self, statistic: float) -> float:
        """Return the conformal p-value: the share of true claims that score this low, corrected for their number."""
        true = self.statistics["true"]
        return (1 + bisect.bisect_right(true, statistic)) / (len(true) + 1)

    def likelihood_ratio(self, statistic: float) -> float:
        """Return how much likelier this statistic is under a true claim than under one drawn by area."""
        return float(10.0 ** self.lr_log10[bisect.bisect_right(self.lr_edges, statistic)])

    def power(self, kind: str) -> float:
        """Return the share of claims of a kind that are found inconsistent, in a clip of one shot."""
        values = self.statistics[kind]
        return sum(is_inconsistent(self.p_value(value), self.likelihood_ratio(value)) for value in values) / len(values)


def is_inconsistent(p_value: float, likelihood_ratio: float) -> bool:
    """Return whether these numbers carry the verdict: few true claims score so low, and the others score so more."""
    return p_value <= FALSE_ALARM and likelihood_ratio < 1.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the numbers carry: ``p_value`` and ``likelihood_ratio`` are None where nothing was tested."""

    verdict: Verdict
    reason: str
    p_value: float | None = None
    likelihood_ratio: float | None = None

    @property
    def support(self) -> str | None:
        """The likelihood ratio in the words of ENFSI."""
        return None if self.likelihood_ratio is None else verbal_support(self.likelihood_ratio)


def verbal_support(likelihood_ratio: float) -> str:
    """Return the verbal equivalent of a likelihood ratio; below 1 it speaks for the second hypothesis."""
    strength = max(likelihood_ratio, 1.0 / likelihood_ratio)
    word = next(word for limit, word in SCALE if strength < limit)
    if word == "no":
        return "no support for one hypothesis over the other"
    return f"{word} support for hypothesis {1 if likelihood_ratio > 1.0 else 2} over the other"


def judge(tables: ClaimTables, statistic: float, shots: int) -> Judgement:
    """Return the verdict of a clip's statistic, the least of so many shots.

    The least of several is low by chance more often: p-value and a likelihood ratio below 1 are multiplied by their
    number (Bonferroni).
    """
    p_value = min(1.0, tables.p_value(statistic) * shots)
    ratio = tables.likelihood_ratio(statistic)
    ratio = min(1.0, ratio * shots) if ratio < 1.0 else ratio
    power = tables.power(f"off_{OFF_KM[-1]}")
    if power < LEAST_POWER:
        why = f"this model finds only {power:.0%} of claims {OFF_KM[-1]:,} km off: its word says nothing either way"
        return Judgement("cannot say", why, p_value, ratio)
    if is_inconsistent(p_value, ratio):
        return Judgement("inconsistent", f"only {p_value:.1%} of true claims score this low", p_value, ratio)
    if p_value > FALSE_ALARM and ratio >= 1.0:
        return Judgement("consistent", f"{p_value:.0%} of true claims score this low", p_value, ratio)
    why = f"{p_value:.1%} of true claims score this low, but the likelihood ratio is {ratio:.2g}: neither way is clear"
    return Judgement("cannot say", why, p_value, ratio)


def read_claim_tables(bundle: ModelBundle) -> ClaimTables | None:
    """Return what was measured of claims, or None where nothing was; raises ModelError for tables that make no
    sense.
    """
    parameters, tables = bundle.calibration.parameters, bundle.calibration.tables
    if not any(name.startswith("claim_") for name in (*parameters, *tables)):
        return None
    radius_km = parameters.get(RADIUS, 0.0)
    if not 0.0 < radius_km < 10_000.0:
        raise ModelError(f"{bundle.path}: calibration.parameters.{RADIUS} must be a number of km above 0")
    statistics = {kind: _rising(bundle, f"claim_{kind}") for kind in KINDS}
    if not all(statistics.values()):
        raise ModelError(f"{bundle.path}: calibration.tables.claim_*: one for each of {', '.join(KINDS)} is needed")
    edges, log10 = _rising(bundle, LR_EDGES), _rising(bundle, LR_LOG10)
    most = math.log10(max(2, len(statistics["true"]))) + 1e-9
    if len(log10) != len(edges) + 1 or not all(abs(value) <= most for value in log10):
        raise ModelError(
            f"{bundle.path}: calibration.tables.{LR_LOG10}: one value more than edges is needed, none beyond what "
            f"{len(statistics['true'])} clips allow"
        )
    return ClaimTables(radius_km, statistics, edges, log10)


def _rising(bundle: ModelBundle, name: str) -> tuple[float, ...]:
    values: Sequence[float] = bundle.calibration.tables.get(name, ())
    if not all(low <= high for low, high in zip(values, values[1:], strict=False)):
        raise ModelError(f"{bundle.path}: calibration.tables.{name}: the values must rise")
    return tuple(values)
