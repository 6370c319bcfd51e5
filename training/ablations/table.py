"""The tables and verdicts of a study as Markdown and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.ablations.plan import AblationPlan, AblationTable
from training.ablations.score import METRICS, THRESHOLDS_KM, RowScore
from training.ablations.verdict import Verdict
from training.evaluation.tables import heading

Scores = Mapping[str, Mapping[str, RowScore]]
"""Subset -> name of a row -> score."""

_HEADINGS = {
    "median_km": "median km", **{f"within_{limit:g}": f"< {limit:g} km %" for limit in THRESHOLDS_KM},
    "dfd_km": "DFD km", "dfd_deg": "DFD deg", "mrd_km": "MRD km", "mrd_deg": "MRD deg",
}  # fmt: skip
_PAPER_COLUMNS = ("frame_1", "frame_median", "dfd_deg", "mrd_deg")


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """What a study was made with: facts for the header in words, and for JSON."""

    facts: Mapping[str, str | int | float]

    def lines(self) -> list[str]:
        """Return the facts as a Markdown list."""
        return [f"- {name.replace('_', ' ')}: {value}" for name, value in self.facts.items()]


def study_markdown(
    record: StudyRecord, plan: AblationPlan, scores: Scores, verdicts: Sequence[Verdict], titles: Mapping[str, str]
) -> str:
    """Return the whole report. Rows that were not evaluated are left out, and tables without any."""
    seeds = "Values are means over the seeds ± their standard deviation, in brackets the 95 % interval from drawing "
    lines = ["# Ablations on flyover", "", *record.lines(), "", f"{seeds}whole flights anew.", ""]
    for table in plan.table:
        lines += _table_lines(table, scores, titles)
    lines += ["## Orderings", ""]
    lines += [f"- {verdict.sentence}" for verdict in verdicts]
    return "\n".join(lines) + "\n"


def study_document(
    record: StudyRecord, plan: AblationPlan, scores: Scores, verdicts: Sequence[Verdict], titles: Mapping[str, str]
) -> dict[str, Any]:
    """Return the same for JSON: shares in [0, 1], kilometres, degrees."""
    return {
        "format": "vidtag-ablations/1",
        "study": dict(record.facts),
        "rows": {
            name: {"title": title, "subsets": {s: _score_document(by[name]) for s, by in scores.items() if name in by}}
            for name, title in titles.items()
        },
        "tables": [
            {"title": table.title, "paper_table": table.paper or None, "subsets": list(table.subsets),
             "rows": [{"row": entry.row, "paper": _paper_values(table, entry.paper)} for entry in table.rows]}
            for table in plan.table
        ],
        "orderings": [verdict.document() for verdict in verdicts],
    }  # fmt: skip


def _table_lines(table: AblationTable, scores: Scores, titles: Mapping[str, str]) -> list[str]:
    paper = table.paper_table()
    columns = [column for column in _PAPER_COLUMNS if paper is not None and column in paper.columns]
    lines: list[str] = []
    for subset in table.subsets:
        rows = [entry for entry in table.rows if entry.row in scores.get(subset, {})]
        if not rows:
            continue
        head = ["", "flights", *_HEADINGS.values(), *(f"paper: {heading(column)}" for column in columns)]
        lines += [f"### {subset}", "", _line(head), _line(["---"] * len(head))]
        for entry in rows:
            score = scores[subset][entry.row]
            printed = _paper_values(table, entry.paper)
            values = [_measured(score, metric) for metric in METRICS]
            beside = ["-" if printed.get(column) is None else f"{printed[column]:g}" for column in columns]
            name = f"{entry.title or titles[entry.row]} (`{entry.row}`)"
            lines.append(_line([name, str(score.flights), *values, *beside]))
        lines.append("")
    if not lines:
        return []
    note = [table.note, ""] if table.note else []
    source = [f"Paper: table {paper.id}, {paper.title}.", ""] if paper is not None else []
    return [f"## {table.title}", "", *lines, *note, *source]


def _paper_values(table: AblationTable, row: str) -> dict[str, float | None]:
    paper = table.paper_table()
    return dict(dict(paper.rows)[row]) if paper is not None and row else {}


def _measured(score: RowScore, metric: str) -> str:
    factor, digits = (100.0, 1) if metric.startswith("within") else (1.0, 2 if metric.endswith("deg") else 1)
    low, high = score.interval(metric)
    spread = score.spread(metric)
    around = "" if spread is None else f" ± {factor * spread:.{digits}f}"
    value = f"{factor * score.mean(metric):.{digits}f}{around}"
    return f"{value} ({factor * low:.{digits}f}-{factor * high:.{digits}f})"


def _score_document(score: RowScore) -> dict[str, Any]:
    metrics = {
        metric: {"mean": score.mean(metric), "spread": score.spread(metric), "interval95": list(score.interval(metric)),
                 "by_seed": list(score.by_seed[metric])}
        for metric in METRICS
    }  # fmt: skip
    return {"flights": score.flights, "frames": score.frames, "metrics": metrics}


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
