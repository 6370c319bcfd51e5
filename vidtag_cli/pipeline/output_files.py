"""The files of one run in their places: all of them, or none of those that were not there before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from vidtag_cli.errors import VidtagError
from vidtag_cli.writers.atomic import is_stream
from vidtag_cli.writers.formats import STDOUT

Written = TypeVar("Written")


@dataclass(frozen=True, slots=True)
class OutputFiles:
    """What a run has put in place so far: files that it made, and files that it replaced."""

    made: list[Path] = field(default_factory=list)
    replaced: list[Path] = field(default_factory=list)

    def put(self, path: Path, write: Callable[[], Written]) -> Written:
        """Return what ``write`` returns after it wrote the file ``path``, and remember the file."""
        is_file = str(path) != STDOUT and not is_stream(path)
        was_there = os.path.exists(path)
        written = write()
        if is_file:
            (self.replaced if was_there else self.made).append(path)
        return written


@contextmanager
def all_or_none() -> Iterator[OutputFiles]:
    """Yield the record of the files written in the block; when the block fails, those that it made are removed again.

    What a replaced file held before is gone, so it stays as written, and the error names it.
    """
    files = OutputFiles()
    try:
        yield files
    except BaseException as error:
        for path in files.made:
            with suppress(OSError):  # the first error is the one to tell
                os.unlink(os.path.realpath(path))
        if files.replaced and isinstance(error, VidtagError):
            names = ", ".join(str(path) for path in files.replaced)
            raise type(error)(f"{error}; replaced before that: {names}") from error
        raise
