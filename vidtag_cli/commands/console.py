"""What goes to stdout and what to stderr: results to the one, everything said to a person to the other."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from vidtag_cli.writers.names import path_fields, printable

if typing.TYPE_CHECKING:
    from rich.console import Console

    from vidtag_cli.engines.build_observer import BuildObserver

__all__ = [
    "ProgressCallback", "json_line", "output_json", "output_lines", "output_table", "path_fields", "printable",
    "printable_traceback", "progress", "say_error", "set_verbosity", "showing_builds", "stderr_console",
]  # fmt: skip

PLAIN_PROGRESS_INTERVAL_S = 60.0
"""A log file gets at most one line of progress in this time; a bar would fill it."""

ProgressCallback = Callable[[float, float | None], None]
"""Called with what is done and what there is in all, in any unit; None while the whole is not known."""


def stderr_console(quiet: bool = False, no_color: bool = False) -> Console:
    """Return the console for messages to people, on stderr; ``quiet`` silences it.

    Markup is off, so a file name with square brackets is printed as it is. NO_COLOR and TERM=dumb are honoured.
    """
    from rich.console import Console

    return Console(
        stderr=True, quiet=quiet, no_color=no_color or None, markup=False, highlight=False, emoji=False, soft_wrap=True
    )


@contextmanager
def progress(console: Console, description: str, quiet: bool = False) -> Iterator[ProgressCallback]:
    """Yield the function that shows progress on a console.

    On a terminal it moves a bar that disappears at the end. Anywhere else it prints at most one line a minute; with
    ``quiet`` nothing.
    """
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    label = TextColumn("{task.description}", markup=False)
    bar = Progress(
        label,
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        # Without this Rich prints a whole bar into a log file.
        disable=not console.is_terminal or quiet,
    )
    if bar.disable:
        yield _ignore_progress if quiet else _plain_progress(console, description)
        return
    with bar:
        task = bar.add_task(printable(description), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def showing_builds(console: Console, description: str, quiet: bool = False) -> Iterator[BuildObserver]:
    """Yield the observer to hand to ``open_engine``: its lines go to the console, its progress to a bar below them."""
    from vidtag_cli.engines.build_observer import BuildObserver

    with progress(console, description, quiet) as show:
        yield BuildObserver(lambda line: console.print(f"vidtag: {printable(line)}"), show)


def set_verbosity(verbose: int = 0, quiet: bool = False) -> None:
    """Send log records to stderr: warnings, with ``-v`` also information, with ``-vv`` all, with ``-q`` errors only."""
    level = logging.ERROR if quiet else {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PrintableFormatter())
    logging.basicConfig(handlers=[handler], level=level, force=True)


class _PrintableFormatter(logging.Formatter):
    """Libraries log names from outside as they are."""

    def format(self, record: logging.LogRecord) -> str:
        text = f"vidtag: {record.levelname}: {printable(record.getMessage())}"
        error = record.exc_info[1] if record.exc_info else None
        return text if error is None else f"{text}\n{printable_traceback(error)}"


def output_json(value: Any) -> None:
    """Write a value as one line of JSON to stdout."""
    sys.stdout.write(json_line(value))
    sys.stdout.flush()


def json_line(value: Any) -> str:
    """Return a value as one line of ASCII JSON with its keys in the order given.

    Raises ValueError for NaN or infinity, which are not JSON.
    """
    return json.dumps(value, allow_nan=False) + "\n"


def output_lines(lines: Sequence[str]) -> None:
    """Write lines of text to stdout."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def output_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows to stdout in aligned columns; control characters of the cells are escaped."""
    table = [[printable(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    padded = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
    output_lines([line.rstrip() for line in padded])


def printable_traceback(error: BaseException) -> str:
    """Return the traceback of an error and of what led to it, in which no name from outside can steer the terminal:
    every message and note is escaped and stays on one line.
    """
    lines: list[str] = []
    earlier, link = error.__cause__, "The above exception was the direct cause of the following exception:"
    if earlier is None and not error.__suppress_context__:
        earlier, link = error.__context__, "During handling of the above exception, another exception occurred:"
    if earlier is not None:
        lines += [printable_traceback(earlier), link, ""]
    lines.append("Traceback (most recent call last):")
    stack = traceback.extract_tb(error.__traceback__).format()
    lines += [
        f"{line[: len(line) - len(line.lstrip())]}{printable(line.strip())}" for line in "".join(stack).splitlines()
    ]
    lines.append(printable(f"{type(error).__qualname__}: {error}"))
    lines += [f"  note: {printable(str(note))}" for note in getattr(error, "__notes__", ())]
    return "\n".join(lines) + "\n"


def say_error(message: str) -> None:
    """Write an error to stderr as every command says it."""
    sys.stderr.write(f"vidtag: error: {printable(message)}\n")


def _plain_progress(
    console: Console, description: str, clock: Callable[[], float] = time.monotonic
) -> ProgressCallback:
    due_s = clock() + PLAIN_PROGRESS_INTERVAL_S

    def show(done: float, total: float | None) -> None:
        nonlocal due_s
        if clock() < due_s:
            return
        due_s = clock() + PLAIN_PROGRESS_INTERVAL_S
        share = f"{done / total:.0%}" if total else f"{done:g}"
        console.print(f"{printable(description)}: {share}")

    return show


def _ignore_progress(done: float, total: float | None) -> None:
    pass
