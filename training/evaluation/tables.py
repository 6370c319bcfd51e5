"""Tables of measured values beside those that the paper printed: columns and headings, Markdown and JSON."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from training.evaluation.predictions import PLACE_LEVELS
from training.evaluation.score import Score
from vidtag_cli.errors import UsageError
from vidtag_cli.evaluation.bootstrap import Estimate

_FILE = Path(__file__).parent / "paper_tables.toml"

DEFAULT_COLUMNS = (
    "frame_0.5", "frame_1", "frame_5", "frame_25", "frame_200", "frame_median",
    "video_0.5", "video_1", "video_5", "video_25", "video_median", "dfd_deg", "dfd_km", "mrd_deg", "mrd_km",
)  # fmt: skip
"""What a table shows when no table of the paper is set beside it."""

_HEADINGS = {
    "frame_median": "frames, median km",
    "video_median": "videos, median km",
    "dfd_deg": "DFD deg",
    "dfd_km": "DFD km",
    "mrd_deg": "MRD deg",
    "mrd_km": "MRD km",
    "trainable_millions": "trainable M",
    "test_gmacs": "GMACs",
    "train_hours": "training h",
    **{level: f"{level} %" for level in PLACE_LEVELS},
}

LEAK_MARK = "†"


@dataclass(frozen=True, slots=True)
class PaperTable:
    """One table: names of its columns and rows of name and values; None is what was left out."""

    id: str
    title: str
    dataset: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, Mapping[str, float | None]], ...]
    note: str = ""


@lru_cache(maxsize=1)
def paper_tables() -> Mapping[str, PaperTable]:
    """Return the tables by their number in the paper, such as "5" or "12-msls"."""
    document = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    tables = [_read_table(entry) for entry in document["table"]]
    return {table.id: table for table in tables}


def find_paper_table(number: str) -> PaperTable:
    """Return one table by its number. Raises UsageError that lists the numbers there are."""
    tables = paper_tables()
    if number not in tables:
        raise UsageError(f"the paper's table {number!r} is not known here: choose one of {', '.join(tables)}")
    return tables[number]


def _read_table(entry: dict) -> PaperTable:
    columns = tuple(entry["columns"])
    rows = []
    for name, *values in entry["rows"]:
        if len(values) != len(columns):
            raise ValueError(
                f"{_FILE.name}: table {entry['id']}, row {name}: {len(values)} values, {len(columns)} columns"
            )
        rows.append((name, {c: None if v == "-" else float(v) for c, v in zip(columns, values, strict=True)}))
    return PaperTable(entry["id"], entry["title"], entry["dataset"], columns, tuple(rows), entry.get("note", ""))


def heading(column: str) -> str:
    """Return what stands above a column. Raises ValueError for a column nobody knows."""
    kind, _, limit = column.partition("_")
    if column in _HEADINGS:
        return _HEADINGS[column]
    if kind in ("frame", "video") and limit.replace(".", "", 1).isdigit():
        return f"{kind}s < {limit} km %"
    raise ValueError(f"unknown column {column!r} of a table")


def is_share(column: str) -> bool:
    """Return whether a column holds per cent."""
    return heading(column).endswith("%")


def column_values(score: Score) -> dict[str, Estimate]:
    """Return every column that a score can fill; shares in per cent."""
    shares = {f"frame_{limit:g}": estimate for limit, estimate in score.frame_share_within.items()}
    shares |= {f"video_{limit:g}": estimate for limit, estimate in score.video_share_within.items()}
    return {
        **{column: per_cent(estimate) for column, estimate in shares.items()},
        "frame_median": score.frame_median_km,
        "video_median": score.video_median_km,
        "dfd_deg": score.dfd_deg,
        "dfd_km": score.dfd_km,
        "mrd_deg": score.mrd_deg,
        "mrd_km": score.mrd_km,
    }


def per_cent(estimate: Estimate) -> Estimate:
    """Return a share and its interval in per cent."""
    return Estimate(100.0 * estimate.value, 100.0 * estimate.low, 100.0 * estimate.high)


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """One row of ours. ``caution`` says in words why it is not a blind retrieval; empty when it is one."""

    name: str
    values: Mapping[str, Estimate]
    clips: int
    frames: int
    coverage: float
    caution: str = ""


def markdown_table(rows: Sequence[MeasuredRow], columns: Sequence[str], paper: PaperTable | None = None) -> str:
    """Return a Markdown table; measured values as ``41.0 (38.2-43.9)``, the interval of 95 % in brackets."""
    head = ["", "clips", "located", *(heading(column) for column in columns)]
    lines = [_line(head), _line(["---"] * len(head))]
    for name, printed in paper.rows if paper else ():
        lines.append(_line([f"paper: {name}", "", "", *(_printed(printed.get(column), column) for column in columns)]))
    for row in rows:
        name = f"**{row.name}**{f' {LEAK_MARK}' if row.caution else ''}"
        values = [_measured(row.values.get(column), column) for column in columns]
        lines.append(_line([name, str(row.clips), _per_cent(row.coverage), *values]))
    cautions = list(dict.fromkeys(f"{LEAK_MARK} {row.caution}." for row in rows if row.caution))
    notes = ([f"Paper: table {paper.id}. {paper.note}".strip()] if paper else []) + cautions
    return "\n".join(lines) + "\n" + "".join(f"\n{note}\n" for note in notes)


def table_document(
    rows: Sequence[MeasuredRow], columns: Sequence[str], paper: PaperTable | None = None
) -> dict[str, Any]:
    """Return the same table for JSON: per cent, kilometres, degrees; None for no value."""
    return {
        "paper_table": None if paper is None else paper.id,
        "columns": {column: heading(column) for column in columns},
        "paper": [{"name": name, "values": dict(printed)} for name, printed in (paper.rows if paper else ())],
        "measured": [
            {
                "name": row.name,
                "clips": row.clips,
                "frames": row.frames,
                "coverage": _json_number(row.coverage),
                "caution": row.caution,
                "values": {
                    column: {
                        "value": _json_number(estimate.value),
                        "low": _json_number(estimate.low),
                        "high": _json_number(estimate.high),
                    }
                    for column, estimate in row.values.items()
                },
            }
            for row in rows
        ],
    }


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _printed(value: float | None, column: str) -> str:
    return "-" if value is None else _number(value, column)


def _measured(estimate: Estimate | None, column: str) -> str:
    if estimate is None or math.isnan(estimate.value):
        return "-"
    return f"{_number(estimate.value, column)} ({_number(estimate.low, column)}-{_number(estimate.high, column)})"


def _number(value: float, column: str) -> str:
    if is_share(column):
        return f"{value:.1f}"
    return f"{value:.2f}" if value < 100.0 else f"{value:.0f}"


def _per_cent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100.0 * share:.1f} %"


def _json_number(value: float) -> float | None:
    return None if math.isnan(value) else value
