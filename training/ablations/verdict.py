"""Whether an ordering of the paper holds here, said from the numbers alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from training.ablations.plan import Claim, Metric
from training.ablations.score import RowScore, difference
from training.evaluation.tables import find_paper_table

UNITS: dict[Metric, str] = {"median_km": "median km", "dfd_km": "DFD km", "mrd_km": "MRD km"}

_PAPER_COLUMNS: dict[Metric, tuple[str, str]] = {
    "median_km": ("frame_median", "km"),
    "dfd_km": ("dfd_deg", "deg"),
    "mrd_km": ("mrd_deg", "deg"),
}
"""The paper's column for a metric and its unit; it has distances of tracks in degrees only."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim judged; ``holds`` is None when a row of it was not evaluated."""

    claim: Claim
    holds: bool | None
    sentence: str

    def document(self) -> dict[str, Any]:
        """Return the verdict for JSON."""
        return {"says": self.claim.says, "order": list(self.claim.order), "metric": self.claim.metric,
                "subset": self.claim.subset, "holds": self.holds, "sentence": self.sentence}  # fmt: skip


def judge(claim: Claim, scores: Mapping[str, RowScore]) -> Verdict:
    """Return the verdict on a claim from the scores of its subset by row.

    It holds when every row's mean over the seeds is smaller than the next row's.
    """
    missing = [name for name in claim.order if name not in scores]
    if missing:
        return Verdict(claim, None, f"not judged: {claim.says} ({', '.join(missing)} not evaluated).")
    means = [scores[name].mean(claim.metric) for name in claim.order]
    holds = all(better < worse for better, worse in pairwise(means))
    values = ", ".join(f"{mean:.1f} {name}" for name, mean in zip(claim.order, means, strict=True))
    parts = [f"{UNITS[claim.metric]} of {claim.subset}: {values}", *_differences(claim, scores), _in_the_paper(claim)]
    verb = "holds" if holds else "does not hold"
    return Verdict(claim, holds, f"**{verb}**: {claim.says} ({'; '.join(part for part in parts if part)}).")


def paper_values(claim: Claim) -> list[float]:
    """Return the paper's values of a claim's rows, in its order; none where the paper has no such rows."""
    if not claim.paper:
        return []
    column, _ = _PAPER_COLUMNS[claim.metric]
    rows = dict(find_paper_table(claim.paper).rows)
    return [value for name in claim.paper_rows if (value := rows[name][column]) is not None]


def _differences(claim: Claim, scores: Mapping[str, RowScore]) -> list[str]:
    """Return in words how sure each step of the ordering is."""
    sentences = []
    for name, next_name in pairwise(claim.order):
        better, worse = scores[name], scores[next_name]
        step = difference(worse, better, claim.metric)
        pairs = list(zip(better.by_seed[claim.metric], worse.by_seed[claim.metric], strict=True))
        agreeing = sum(first < second for first, second in pairs)
        sure = "" if step.low > 0.0 or step.high < 0.0 else ", which includes 0"
        sentences.append(
            f"{next_name} less {name} {step.value:+.1f} with 95 % interval {step.low:+.1f} to {step.high:+.1f}{sure}, "
            f"above 0 in {agreeing} of {len(pairs)} seeds"
        )
    return sentences


def _in_the_paper(claim: Claim) -> str:
    values = paper_values(claim)
    if not values:
        return "no figures in the paper"
    _, unit = _PAPER_COLUMNS[claim.metric]
    return f"paper, table {claim.paper}: " + " < ".join(f"{value:g}" for value in values) + f" {unit}"
