"""Standard output and standard error that may be closed, full or without a reader."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO

from vidtag_cli.errors import OutputError


def open_missing_streams() -> None:
    """Connect every standard stream that the caller closed with the null device.

    Python has None in place of such a stream, and the next file that is opened would get its number: what a library
    says on descriptor 2 would be written into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest free number: that of the stream
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8"))


def show_what_can_be_shown() -> None:
    """Make stdout and stderr write an escape for a character that their encoding does not have.

    Python would raise UnicodeEncodeError in the middle of a table, after the work was done.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a stream of a test may be another one
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def checked_streams() -> Iterator[None]:
    """Within the block a failing stdout raises OutputError and a failing stderr is passed over.

    A reader that went away is no such failure: BrokenPipeError of stdout passes through.
    """
    with redirect_stdout(_CheckedStdout(sys.stdout)), redirect_stderr(_PatientStderr(sys.stderr)):  # type: ignore[type-var]
        yield


def drop_what_is_buffered(stream: TextIO) -> None:
    """Connect a stream with the null device: what it still holds would raise again when the interpreter closes it."""
    with suppress(OSError):  # a stream of a test has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _CheckedStdout:
    """Once it has failed it fails for good: whoever tries a stream first, as Typer does, passes over what that says."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._failure: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._explained():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._explained():
            self._stream.flush()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            if self._failure is not None:
                raise self._failure
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            self._failure = error
            drop_what_is_buffered(self._stream)
            raise OutputError(
                f"standard output cannot be written: {error.strerror or error}: what it holds is not complete"
            ) from error


class _PatientStderr:
    """What cannot be said to a person is no reason to lose a result."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            drop_what_is_buffered(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            drop_what_is_buffered(self._stream)
