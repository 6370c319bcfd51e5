"""The rows of a data set's CSV files."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from vidtag_cli.errors import InputError


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the line number and the cells of the named columns, stripped; a cell that is not there is empty.

    Raises InputError when the file cannot be read, is not UTF-8 text, or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.reader(stream)
            places = _places(path, next(table, []), columns)
            for row in table:
                if any(row):
                    yield table.line_num, tuple(row[place].strip() if place < len(row) else "" for place in places)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a CSV table in UTF-8: {error}") from error


def _places(path: Path, header: Sequence[str], columns: Sequence[str]) -> list[int]:
    names = [name.strip().lower() for name in header]
    missing = [column for column in columns if column not in names]
    if missing:
        raise InputError(f"{path}: line 1: no column {', '.join(missing)} among {', '.join(names) or 'none'}")
    return [names.index(column) for column in columns]
