"""Outputs of a run: what may be written where, how a refusal reads, and descriptors and pipes in place of files."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn

from vidtag_cli.errors import OutputError
from vidtag_cli.files import Content, create_file, replace_file

STDOUT = "-"
"""The name of standard output on the command line."""

STANDARD_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
DESCRIPTOR_PATH = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NOT_PERMITTED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def atomic_write(path: str | Path, content: Content, *, force: bool = False) -> None:
    """Write a file that appears under its name only when it is complete and on the disk.

    Without ``force`` an existing file stays and OutputError is raised, also when it appears while this one is
    written. With ``force`` it is replaced and its permissions are kept. A symbolic link is followed. Descriptors
    (``/dev/stdout``), pipes and devices are written directly. No temporary file is left behind, whatever stops the
    writing; BrokenPipeError passes through.
    """
    if is_stream(path):
        write_stream(path, content)
        return
    target = Path(os.path.realpath(path))
    with explained(path):
        if force:
            replace_file(target, content)
        else:
            create_file(target, content)


def check_output_free(path: str | Path, inputs: Sequence[str | Path] = (), force: bool = False) -> None:
    """Raise OutputError unless the path can be written later; meant for the moment before decoding starts.

    An output that is one of the inputs (the same inode, by whatever name) is refused even with ``force``.
    """
    if is_stream(path):
        return
    for input_path in inputs:
        if _is_same_file(path, input_path):
            raise OutputError(
                f"{path}: this is the input {input_path} itself, which is never overwritten: choose another name"
            )
    with explained(path):
        _check_target_free(path, Path(os.path.realpath(path)), force)


def _check_target_free(path: str | Path, target: Path, force: bool) -> None:
    # By os.stat and not by Path.exists, which takes a link in a circle for a free name.
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and stat.S_ISDIR(mode):
        raise OutputError(f"{path}: this is a folder: give the name of a file")
    if mode is not None and not force:
        raise OutputError(_exists_message(path))
    if not target.parent.is_dir():
        raise OutputError(_missing_folder_message(path, target.parent))
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise OutputError(_not_permitted_message(path, target.parent))


def _is_same_file(path: str | Path, other: str | Path) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False  # what is wrong with one of them is said where it is opened


def _descriptor(path: str | Path) -> int | None:
    name = os.fspath(path)
    match = DESCRIPTOR_PATH.fullmatch(name)
    return int(match[1]) if match else STANDARD_STREAMS.get(name)


def is_stream(path: str | Path) -> bool:
    """Return whether the path is standard output, a descriptor, a pipe or a device: written directly, never replaced or
    removed.
    """
    if str(path) == STDOUT or _descriptor(path) is not None:
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def write_stream(path: str | Path, content: Content) -> None:
    """Write to a path that ``is_stream``; raises OutputError, and BrokenPipeError when the reader is gone."""
    if str(path) == STDOUT:
        try:
            sys.stdout.flush()
            _write_content(sys.stdout.buffer, content)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:  # it has no folder whose disk could be named
            raise OutputError(f"standard output cannot be written: {error.strerror or error}") from error
        return
    descriptor = _descriptor(path)
    with explained(path):
        if descriptor is None:
            file_descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        else:
            # Opening /dev/stdout by name would truncate the file that the shell appends to; a duplicate continues it.
            sys.stdout.flush()
            file_descriptor = os.dup(descriptor)
        with os.fdopen(file_descriptor, "wb") as stream:
            _write_content(stream, content)


def _write_content(stream: BinaryIO, content: Content) -> None:
    if isinstance(content, (bytes, memoryview)):
        stream.write(content)
    else:
        content(stream)


@contextmanager
def explained(path: str | Path) -> Iterator[None]:
    """Turn an OSError of the block into the OutputError that says why ``path`` cannot be written, and what to do.

    BrokenPipeError passes through: the reader is gone and needs no explanation.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        _explain(path, error)


def _explain(path: str | Path, error: OSError) -> NoReturn:
    folder = Path(os.path.realpath(path)).parent
    if error.errno == errno.EEXIST:
        raise OutputError(_exists_message(path)) from error
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        raise OutputError(_missing_folder_message(path, folder)) from error
    if error.errno == errno.EISDIR:
        raise OutputError(f"{path}: this is a folder: give the name of a file") from error
    if error.errno in NOT_PERMITTED:
        raise OutputError(_not_permitted_message(path, folder)) from error
    if error.errno == errno.ENAMETOOLONG:
        raise OutputError(
            f"{path}: the name is too long for the file system: choose a shorter one; with --out-dir it begins with "
            "the video's own name: locate that video by itself, with --out"
        ) from error
    if error.errno == errno.ELOOP:
        raise OutputError(f"{path}: these symbolic links lead in a circle: choose another name") from error
    if error.errno in DISK_FULL:
        raise OutputError(f"{path}: the disk of {folder} is full: free some space or choose another disk") from error
    raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def _exists_message(path: str | Path) -> str:
    return f"{path}: exists already: choose another name, or replace it with --force"


def _not_permitted_message(path: str | Path, folder: Path) -> str:
    return f"{path}: no permission to write in {folder}: choose another folder"


def _missing_folder_message(path: str | Path, folder: Path) -> str:
    return f"{path}: the folder {folder} does not exist: create it first"


def make_output_folder(folder: str | Path) -> None:
    """Make a folder and those above it unless it is there; raises OutputError when it cannot be made."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: the folder cannot be made: {error.strerror or error}") from error
