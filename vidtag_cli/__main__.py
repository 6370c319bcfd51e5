"""The only place where an error becomes an exit code."""

from __future__ import annotations

import signal
import threading

# Ctrl-C while modules are imported ends the process as it ends any program: Python would print a traceback.
_IN_MAIN_THREAD = threading.current_thread() is threading.main_thread()
_SIGINT_BEFORE = signal.signal(signal.SIGINT, signal.SIG_DFL) if _IN_MAIN_THREAD else None

import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vidtag_cli.commands.console import output_json, printable, printable_traceback, say_error
from vidtag_cli.commands.interruption import Interruption, interruptible
from vidtag_cli.commands.standard_streams import (
    checked_streams,
    drop_what_is_buffered,
    open_missing_streams,
    show_what_can_be_shown,
)
from vidtag_cli.errors import ALL_FRAMES_ABSTAINED, SOME_INPUTS_FAILED, OutputError, UsageError, VidtagError
from vidtag_cli.exhaustion import explain_exhaustion

if TYPE_CHECKING:
    import typer

if _SIGINT_BEFORE is not None:
    signal.signal(signal.SIGINT, _SIGINT_BEFORE)

UNEXPECTED, READER_GONE = 1, 141
RESULTS = (0, ALL_FRAMES_ABSTAINED, SOME_INPUTS_FAILED)
"""Codes of runs that ended with results, not with an error."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run vidtag and return its exit code; errors are said on stderr and, with ``--json``, as an object on stdout."""
    open_missing_streams()
    show_what_can_be_shown()
    command_line = list(sys.argv[1:] if arguments is None else arguments)
    debug = _take_debug(command_line) or bool(os.environ.get("VIDTAG_DEBUG"))
    interruption = Interruption()
    reporter = _Reporter(command_line, debug, "--json" in _options(command_line), interruption)
    try:
        with interruptible(interruption), checked_streams():
            return _flushed(_run(command_line, reporter), reporter)
    except KeyboardInterrupt:
        return interruption.exit_code
    except BrokenPipeError:
        drop_what_is_buffered(sys.stdout)
        return READER_GONE


@dataclass(frozen=True, slots=True)
class _Reporter:
    """How errors are said: with ``--debug`` with their traceback, with ``--json`` on stdout as well."""

    command_line: list[str]
    debug: bool
    as_json: bool
    interruption: Interruption

    def report(self, error: Exception) -> int:
        """Say an error and return its exit code; what fails while an interrupted run is ending is not said."""
        if self.interruption.came:
            return self.interruption.exit_code
        if self.debug:
            sys.stderr.write(printable_traceback(error))
        error = explain_exhaustion(error) or error
        if isinstance(error, VidtagError):
            code, message = error.exit_code, str(error)
        else:
            hint = "" if self.debug else "; this is a bug: run again with --debug for the traceback"
            code, message = UNEXPECTED, f"unexpected {_one_line(error)}{hint}"
        say_error(message)
        self._say_as_json(code, type(error).__name__, message)
        return code

    def report_usage(self, error: Any) -> int:
        """Say an error that Typer met in the command line, below the usage of the command."""
        if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help of the command
            error.show()
            message = "no command is named"
        else:
            context, message = getattr(error, "ctx", None), " ".join(error.format_message().split())
            usage = f"{context.get_usage()}\nTry '{context.command_path} -h' for help.\n\n" if context else ""
            message += _hint(self.command_line)
            sys.stderr.write(f"{usage}vidtag: error: {printable(message)}\n")
        self._say_as_json(UsageError.exit_code, UsageError.__name__, message)
        return UsageError.exit_code

    def _say_as_json(self, code: int, kind: str, message: str) -> None:
        if not self.as_json:
            return
        with suppress(OutputError):  # stderr has it too, and stdout cannot take even this
            output_json({"error": {"exit_code": code, "kind": kind, "message": printable(message)}})


def build_app() -> typer.Typer:
    """Return the application; what takes time to import is imported when signals are caught already."""
    from vidtag_cli.commands import app

    return app.build_app()


def _run(command_line: list[str], reporter: _Reporter) -> int:
    import typer

    try:
        _check_nothing_is_empty(command_line)
        # Not standalone: Typer would end every EOFError with "Aborted!" and the code of a bug.
        return build_app()(args=command_line, prog_name="vidtag", standalone_mode=False) or 0
    except BrokenPipeError:
        raise
    except SystemExit as end:
        return _code_of_exit(end)
    except typer.Abort as abort:
        return reporter.report(abort.__cause__ if isinstance(abort.__cause__, Exception) else abort)
    except Exception as error:  # noqa: BLE001  every bug ends here, as one line and code 1
        return reporter.report_usage(error) if isinstance(error, typer.TyperException) else reporter.report(error)


def _flushed(code: int, reporter: _Reporter) -> int:
    """Return the code of a run, or that of an error when stdout does not take the end of its results."""
    try:
        sys.stdout.flush()
    except OutputError as error:
        # An error was said already, perhaps this very one by whoever wrote the last bytes.
        if code in RESULTS:
            return reporter.report(error)
    return code


def _code_of_exit(end: SystemExit) -> int:
    # Typer turns the error of a pipe without a reader into an exit: the exception it met is the context.
    if isinstance(end.__context__, BrokenPipeError):
        raise end.__context__
    return end.code if isinstance(end.code, int) else int(end.code is not None)


def _check_nothing_is_empty(command_line: list[str]) -> None:
    """Raise UsageError for an empty argument: as a path it would be this folder."""
    for before, argument in zip(["vidtag", *command_line], command_line, strict=False):
        if argument == "" or re.fullmatch("--[a-z0-9-]+=", argument):
            named = argument or f"the argument after {before!r}"
            raise UsageError(f"{named} is empty: a variable of the shell may not be set")


def _hint(command_line: list[str]) -> str:
    """Return what was probably meant by a command line that Typer refused, or nothing."""
    first, *_ = [*command_line, ""]
    if first and not first.startswith("-") and os.path.exists(first):
        return f" To locate a video: vidtag locate {first}"
    for argument in _options(command_line):
        if argument.startswith("-") and os.path.exists(argument):
            return f"; a name that begins with a dash is written ./{argument}"
    return ""


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
