"""The numbers that the paper printed, for setting beside ours."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from vidtag_cli.errors import UsageError

_FILE = Path(__file__).parent / "paper_tables.toml"


@dataclass(frozen=True, slots=True)
class PaperTable:
    """One table: names of its columns (``columns.py``) and rows of name and values; None is what was left out."""

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
