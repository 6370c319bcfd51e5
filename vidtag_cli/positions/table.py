"""Positions of a table with a header: comma, semicolon or tab, columns found by their usual names."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from vidtag_cli.positions.columns import ALL_TIME_NAMES, LATITUDE_NAMES, LONGITUDE_NAMES, only_column, time_column
from vidtag_cli.positions.contents import Contents
from vidtag_cli.positions.own_mark import table_mark
from vidtag_cli.positions.position import MalformedError, Position, checked_position
from vidtag_cli.positions.text import decoded_text

DELIMITERS = (",", ";", "\t")

Row = tuple[int, list[str]]
"""The line on which a row begins, and its cells."""


def read_table(content: bytes) -> Contents:
    """Return the positions of a table; empty lines are passed over. Raises MalformedError with the line."""
    text = decoded_text(content)
    rows = _rows(text, _delimiter(text))
    _, header = next(rows, (1, []))
    names = [name.strip().casefold() for name in header]
    try:
        lat = _needed(only_column(names, LATITUDE_NAMES, "latitude"), LATITUDE_NAMES, "latitude")
        lon = _needed(only_column(names, LONGITUDE_NAMES, "longitude"), LONGITUDE_NAMES, "longitude")
        timed = time_column(names)
    except MalformedError as error:
        raise MalformedError(f"line 1: {error}") from None
    clock, time = (None, None) if timed is None else timed
    positions = [
        _position(f"line {line}", row, lat, lon, time) for line, row in rows if any(cell.strip() for cell in row)
    ]
    without_time = f"line 1: no column of time: name one of them {', '.join(ALL_TIME_NAMES)}"
    return Contents("table", clock, positions, table_mark(names), without_time)


def _delimiter(text: str) -> str:
    """Return the delimiter that makes most sense of the header: counting them is misled by a quoted cell."""
    known = {*LATITUDE_NAMES, *LONGITUDE_NAMES, *ALL_TIME_NAMES}

    def sense(delimiter: str) -> tuple[int, int]:
        try:
            _, header = next(_rows(text, delimiter), (1, []))
        except MalformedError:
            return -1, 0
        return sum(name.strip().casefold() in known for name in header), len(header)

    return max(DELIMITERS, key=sense)


def _rows(text: str, delimiter: str) -> Iterator[Row]:
    table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = table.line_num + 1
        try:
            row = next(table)
        except StopIteration:
            return
        except csv.Error as error:
            raise MalformedError(f"line {line}: {error}") from error
        yield line, row


def _needed(column: int | None, names: Sequence[str], what: str) -> int:
    if column is None:
        raise MalformedError(f"no column of {what}: name one of them {' or '.join(names)}")
    return column


def _position(where: str, row: Sequence[str], lat: int, lon: int, time: int | None) -> Position:
    cells = [row[column].strip() if column is not None and column < len(row) else "" for column in (lat, lon, time)]
    return checked_position(where, cells[0], cells[1], cells[2] or None)
