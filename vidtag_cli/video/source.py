"""A video file opened so that nothing which takes its name, before or during a run, is ever waited for."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vidtag_cli.errors import InputError


@contextmanager
def opened_file(path: Path, descriptor: int | None = None) -> Iterator[int]:
    """Yield a descriptor of a regular file that holds something: ``descriptor`` itself, which stays open, or one of
    ``path`` that is closed again.

    Raises InputError when the path is missing, is no regular file, is empty or cannot be read.
    """
    if descriptor is not None:
        yield descriptor
        return
    opened_fd = _open(path)
    try:
        _check_is_file(path, os.fstat(opened_fd))
        yield opened_fd
    finally:
        os.close(opened_fd)


def _open(path: Path) -> int:
    try:
        # Without O_NONBLOCK opening a pipe waits for a writer; regular files do not know the difference.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise InputError(f"{path}: does not exist") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        raise InputError(f"{path!s}: cannot be read ({error})") from error


def _check_is_file(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise InputError(f"{path}: is {kind}; give the path of a video file")
    if status.st_size == 0:  # so are the files of /proc, some of which keep a reader waiting
        raise InputError(f"{path}: is empty (0 bytes); the copy or the download may have failed")
