"""The edge of ``python -m training`` and ``python -m export``: help, errors as one line, exit codes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import typer

from vidtag_cli.errors import OutputError, VidtagError
from vidtag_cli.writers.names import printable


def make_app(description: str | None) -> typer.Typer:
    """Return an application whose commands all answer to ``-h`` and ``--help``; bugs end in Python's own traceback."""
    return typer.Typer(
        no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=description,
        context_settings={"help_option_names": ["-h", "--help"]},
    )  # fmt: skip


def run_app(app: typer.Typer, program: str, arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    An error of the family is one line on stderr, with more below it where it lists things; so is what the system
    refuses, such as a folder that cannot be written.
    """
    _log_to_stderr()
    try:
        app(args=arguments, prog_name=f"python -m {program}")
    except VidtagError as error:
        return _say(program, str(error), error.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _say(program, f"{where}{error.strerror or error}", OutputError.exit_code)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def _log_to_stderr() -> None:
    """Say what is being done, with the time of day: training takes hours, and an export minutes."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
    for program in ("training", "export"):
        logging.getLogger(program).setLevel(logging.INFO)


def _say(program: str, message: str, code: int) -> int:
    lines = "\n".join(printable(line) for line in message.splitlines())
    sys.stderr.write(f"{program}: error: {lines}\n")
    return code
