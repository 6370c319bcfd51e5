"""Files and folders that appear under their names whole or not at all, and locks that end with their process.

Every writer of this project goes through here. What a killed process leaves behind bears a name of
``is_leftover_name`` and is removed by ``remove_leftovers``, which never touches what a living process is writing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

Content = bytes | memoryview | Callable[[BinaryIO], None]
"""The bytes of a file, or a function that writes them."""

LEFTOVER_NAME = re.compile(r"\.vidtag-[0-9a-f]{16}\.(?:part|old)")

# File systems without hard links (FAT and exFAT on evidence sticks, some network shares) answer with one of these.
NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def replace_file(path: str | Path, content: Content, *, mode: int | None = None) -> None:
    """Write a file in place of an earlier one, in one step, once it is complete and on the disk.

    ``mode`` None keeps the permissions of the earlier file; a new one gets those of the umask. Raises OSError, and then
    the earlier file is as it was.
    """
    target = Path(path)
    with _new_file(target.parent, content, _kept_mode(target) if mode is None else mode) as temporary:
        os.replace(temporary, target)
    sync_folder(target.parent)


def create_file(path: str | Path, content: Content, *, mode: int | None = None) -> None:
    """Write a file that appears once it is complete and on the disk; raises FileExistsError when the name is in use,
    also when that happens while this file is written. ``mode`` None gives the permissions of the umask.
    """
    target = Path(path)
    with _new_file(target.parent, content, mode) as temporary:
        _link_new(temporary, target)
    sync_folder(target.parent)


@contextmanager
def replace_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``path``, and of a folder there, when the block ends well.

    When the block or the change of places fails, the earlier folder is as it was and nothing else is left. A folder
    cannot be replaced in one step everywhere: for a moment the earlier one stands aside under a hidden name.
    """
    target = Path(path)
    with _hidden(target.parent, ".part") as fresh:
        fresh.mkdir()
        with _held(fresh):
            yield fresh
            with _hidden(target.parent, ".old") as aside:
                had_one = target.exists()
                if had_one:
                    os.rename(target, aside)
                try:
                    os.rename(fresh, target)
                except OSError:
                    if had_one:
                        os.rename(aside, target)
                    raise
    sync_folder(target.parent)


@contextmanager
def exclusive_lock(path: str | Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Let one process at a time into the block. ``on_wait`` is called once when another holds the lock; without it,
    BlockingIOError is raised instead of waiting. The lock ends with its process, however that ends.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_wait is None:
                raise
            on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def find_leftovers(folder: str | Path) -> list[Path]:
    """Return what killed processes left in a folder: temporary files and folders that no living process holds."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if LEFTOVER_NAME.fullmatch(entry.name))
    except OSError:
        return []
    return [Path(folder) / name for name in names if _is_abandoned(Path(folder) / name)]


def remove_leftovers(folder: str | Path) -> list[Path]:
    """Remove what :func:`find_leftovers` finds, and return it."""
    leftovers = find_leftovers(folder)
    for path in leftovers:
        _remove(path)
    return leftovers


def sync_folder(folder: Path) -> None:
    """Flush the names of a folder to the disk, where its file system can."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot flush a folder; the file itself is on the disk already.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


@contextmanager
def _hidden(folder: Path, suffix: str) -> Iterator[Path]:
    """Yield a free name in a folder, short whatever the name of the target is, and remove what is there at the end."""
    path = folder / f".vidtag-{secrets.token_hex(8)}{suffix}"
    try:
        yield path
    finally:
        _remove(path)


@contextmanager
def _new_file(folder: Path, content: Content, mode: int | None) -> Iterator[Path]:
    """Yield a complete file under a hidden name in ``folder``; what still bears the name afterwards is removed."""
    with _hidden(folder, ".part") as temporary:
        # Private from the first moment where permissions are given: who opens it early would read what comes later.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o666 if mode is None else 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            with suppress(OSError):  # a file system without locks: its leftovers are found by their names alone
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if mode is not None:
                os.fchmod(stream.fileno(), mode)
            if isinstance(content, (bytes, memoryview)):
                stream.write(content)
            else:
                content(stream)
            stream.flush()
            os.fsync(stream.fileno())
            yield temporary


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Mark a folder as in use by this process for the duration of the block."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _is_abandoned(path: Path) -> bool:
    """Return whether no living process holds a temporary file or folder."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _kept_mode(target: Path) -> int | None:
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return None


def _link_new(temporary: Path, target: Path) -> None:
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        # The exclusive creation decides who owns the name, so replacing our own empty file overwrites nobody's.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        os.replace(temporary, target)


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except FileNotFoundError:
        pass
    except OSError:
        shutil.rmtree(path, ignore_errors=True)
