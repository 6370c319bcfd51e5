"""The only place where an error becomes an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

from vidtag_cli.commands.app import build_app
from vidtag_cli.commands.console import output_json, printable
from vidtag_cli.commands.interruption import interruptible
from vidtag_cli.commands.standard_streams import checked_streams, drop_what_is_buffered, open_missing_streams
from vidtag_cli.errors import ALL_FRAMES_ABSTAINED, SOME_INPUTS_FAILED, OutputError, UsageError, VidtagError

UNEXPECTED, INTERRUPTED, READER_GONE = 1, 130, 141
RESULTS = (0, ALL_FRAMES_ABSTAINED, SOME_INPUTS_FAILED)
"""Codes of runs that ended with results, not with an error."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run vidtag and return its exit code; errors are said on stderr and, with ``--json``, as an object on stdout."""
    open_missing_streams()
    command_line = list(sys.argv[1:] if arguments is None else arguments)
    debug = _take_debug(command_line) or bool(os.environ.get("VIDTAG_DEBUG"))
    wants_json = "--json" in _options(command_line)
    try:
        with interruptible(), checked_streams():
            return _flushed(_run(command_line, debug, wants_json), debug, wants_json)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        drop_what_is_buffered(sys.stdout)
        return READER_GONE


def _run(command_line: list[str], debug: bool, wants_json: bool) -> int:
    try:
        build_app()(args=command_line, prog_name="vidtag")
    except VidtagError as error:
        return _report(error.exit_code, type(error).__name__, str(error), debug, wants_json)
    except BrokenPipeError:
        raise
    except SystemExit as end:
        return _code_of_exit(end, wants_json)
    except Exception as error:  # noqa: BLE001  every bug ends here, as one line and code 1
        hint = "" if debug else "; this is a bug: run again with --debug for the traceback"
        return _report(UNEXPECTED, type(error).__name__, f"unexpected {_one_line(error)}{hint}", debug, wants_json)
    return 0


def _flushed(code: int, debug: bool, wants_json: bool) -> int:
    """Return the code of a run, or that of an error when stdout does not take the end of its results."""
    try:
        sys.stdout.flush()
    except OutputError as error:
        # An error was said already, perhaps this very one by whoever wrote the last bytes.
        if code in RESULTS:
            return _report(error.exit_code, type(error).__name__, str(error), debug, wants_json)
    return code


def _report(code: int, kind: str, message: str, debug: bool, wants_json: bool) -> int:
    if debug:
        traceback.print_exc()
    sys.stderr.write(f"vidtag: error: {printable(message)}\n")
    if wants_json:
        _output_error(code, kind, message)
    return code


def _output_error(code: int, kind: str, message: str) -> None:
    with suppress(OutputError):  # stderr has it too, and stdout cannot take even this
        output_json({"error": {"exit_code": code, "kind": kind, "message": printable(message)}})


def _code_of_exit(end: SystemExit, wants_json: bool) -> int:
    # Typer turns what it meets into an exit: the exception it met is the context.
    cause = end.__context__
    if isinstance(cause, BrokenPipeError):
        raise cause
    code = end.code if isinstance(end.code, int) else int(end.code is not None)
    if code == UsageError.exit_code and wants_json:
        message = cause.format_message() if cause is not None and hasattr(cause, "format_message") else "wrong usage"
        _output_error(code, UsageError.__name__, message)
    return code


def _take_debug(command_line: list[str]) -> bool:
    """Remove ``--debug`` from the options, wherever it stands, and return whether it was there."""
    options = _options(command_line)
    if "--debug" not in options:
        return False
    command_line[: len(options)] = [option for option in options if option != "--debug"]
    return True


def _options(command_line: list[str]) -> list[str]:
    """Return the arguments before ``--``: what follows it is a name even when it looks like an option."""
    return command_line[: command_line.index("--")] if "--" in command_line else command_line[:]


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


if __name__ == "__main__":
    sys.exit(main())
