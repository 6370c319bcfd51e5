"""Files and folders that appear under their names whole or not at all, and locks that end with their process.

Every writer of this project goes through here. What a killed process leaves behind bears a name that
``LEFTOVER_NAME`` matches and is settled by ``remove_leftovers``, which never touches what a living process is writing.
Symbolic links are replaced, not followed; who wants to follow one resolves it first.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

Content = bytes | memoryview | Callable[[BinaryIO], None]
"""The bytes of a file, or a function that writes them."""

LEFTOVER_NAME = re.compile(r"\.vidtag-[0-9a-f]{16}\.(?:part|old)")
PART, OLD = ".part", ".old"

ABANDONED_AFTER_S = 24 * 3600.0
"""Where a file system has no locks, a temporary file that nobody has changed for so long has no living owner."""

# File systems without hard links (FAT and exFAT on evidence sticks, some network shares) answer with one of these.
NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})

# Linux's renameat2(2), its flags, and what file systems and systems without them answer.
AT_CURRENT_FOLDER = -100
NO_REPLACE, EXCHANGE = 1, 2
NO_RENAME_FLAGS = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


def replace_file(path: str | Path, content: Content, *, mode: int | None = None) -> None:
    """Write a file in place of an earlier one, in one step, once it is complete and on the disk.

    ``mode`` None keeps the permissions of the earlier file; a new one gets those of the umask. Raises OSError, and then
    the earlier file is as it was.
    """
    target = Path(path)
    with hidden_file(target.parent, content, kept_mode(target) if mode is None else mode) as temporary:
        os.replace(temporary, target)
    sync_folder(target.parent)


def create_file(path: str | Path, content: Content, *, mode: int | None = None) -> None:
    """Write a file that appears once it is complete and on the disk; raises FileExistsError when the name is in use,
    also when that happens while this file is written. ``mode`` None gives the permissions of the umask.
    """
    target = Path(path)
    with hidden_file(target.parent, content, mode) as temporary:
        move_to_free_name(temporary, target)
    sync_folder(target.parent)


@contextmanager
def replace_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``path``, and of a folder there, when the block ends well.

    What was written into it is flushed to the disk first. When the block or the change of places fails, the earlier
    folder is as it was and nothing else is left. The places change in one step where the system can do that (Linux, on
    most file systems); elsewhere the earlier folder stands aside for a moment, and after a kill in that moment
    ``remove_leftovers`` puts it back, which is also the first thing done here.
    """
    target = Path(path)
    remove_leftovers(target.parent)
    _check_is_folder_or_free(target)
    with _hidden_folder(target.parent, PART) as fresh:
        yield fresh
        _sync_tree(fresh)
        _put_folder(fresh, target)
    sync_folder(target.parent)


@contextmanager
def work_folder(parent: str | Path) -> Iterator[Path]:
    """Yield an empty hidden folder in ``parent`` for what is needed during the block alone; what a killed process
    leaves of it is settled by ``remove_leftovers``.
    """
    with _hidden_folder(Path(parent), PART) as hidden:
        yield hidden


@contextmanager
def exclusive_lock(path: str | Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Let one process at a time into the block. ``on_wait`` is called once when another holds the lock; without it,
    BlockingIOError is raised instead of waiting. The lock ends with its process, however that ends.

    The file ``path`` is made where it is missing and stays. Any other OSError means that there can be no lock here.
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
    leftovers = []
    for path in _temporary_paths(Path(folder)):
        with claimed(path) as is_abandoned:
            if is_abandoned:
                leftovers.append(path)
    return leftovers


def remove_leftovers(folder: str | Path) -> list[Path]:
    """Settle what :func:`find_leftovers` finds, and return it: temporary files and folders are removed, and an earlier
    folder that stood aside when its process was killed is put back.
    """
    settled = []
    for path in _temporary_paths(Path(folder)):
        with claimed(path) as is_abandoned:
            if is_abandoned:
                with suppress(OSError):  # tidying is no reason to end a run; the next one tries again
                    _remove(path)
                    settled.append(path)
    return settled


@contextmanager
def hidden_file(folder: Path, content: Content, mode: int | None = None) -> Iterator[Path]:
    """Yield a complete file under a hidden name in ``folder``, on the disk, to be moved to its name in the block; what
    still bears the hidden name afterwards is removed. ``mode`` None gives the permissions of the umask.
    """
    while True:
        with _hidden(folder, PART) as temporary:
            # Private from the first moment where it shall be: who opened it early would read what is written later.
            permissions = 0o666 if mode is None else mode & 0o600
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, permissions)
            with os.fdopen(descriptor, "wb") as stream:
                if not _hold(descriptor, temporary):
                    continue  # a cleaner came between the two steps: begin again under another name
                if mode is not None:
                    os.fchmod(descriptor, mode)
                if isinstance(content, (bytes, memoryview)):
                    stream.write(content)
                else:
                    content(stream)
                stream.flush()
                os.fsync(descriptor)
                yield temporary
                return


def move_to_free_name(temporary: Path, target: Path) -> None:
    """Move a file to a name in the same folder; raises FileExistsError, in one step with the move, when it is in use.

    Without any such step the name is taken by an empty file first, which a kill at that moment leaves behind.
    """
    try:
        rename_with_flag(temporary, target, NO_REPLACE)
        return
    except OSError as error:
        if error.errno not in NO_RENAME_FLAGS:
            raise
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        # The exclusive creation decides who owns the name, so replacing our own empty file overwrites nobody's.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        try:
            os.replace(temporary, target)
        except BaseException:
            target.unlink()
            raise
    else:
        os.unlink(temporary)


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Yield whether a temporary file or folder has no living owner; nobody else can claim it during the block."""
    try:
        descriptor = _open_to_lock(path)
    except OSError:  # gone, or another user's: not ours to remove
        yield False
        return
    try:
        yield _is_abandoned(descriptor)
    finally:
        os.close(descriptor)


def kept_mode(target: Path) -> int | None:
    """Return the permissions that a file in place of ``target`` should have; None where there is no file yet."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return None


def sync_folder(folder: Path) -> None:
    """Flush the names of a folder to the disk, where its file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return  # a folder that may be written and not be read; the file itself is on the disk already
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot flush a folder.
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(descriptor)


def rename_with_flag(source: Path, target: Path, flag: int) -> None:
    """Rename with Linux's ``NO_REPLACE`` or ``EXCHANGE``; raises OSError, with a number of ``NO_RENAME_FLAGS`` where
    the system or the file system cannot.
    """
    import ctypes

    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if renameat2(AT_CURRENT_FOLDER, os.fsencode(source), AT_CURRENT_FOLDER, os.fsencode(target), flag) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(source), None, str(target))


@contextmanager
def _hidden(folder: Path, suffix: str) -> Iterator[Path]:
    """Yield a free name in a folder, short whatever the name of the target is, and remove what is there at the end."""
    path = folder / f".vidtag-{secrets.token_hex(8)}{suffix}"
    try:
        yield path
    finally:
        _remove(path)


@contextmanager
def _hidden_folder(folder: Path, suffix: str) -> Iterator[Path]:
    """Yield an empty hidden folder that this process holds during the block."""
    while True:
        with _hidden(folder, suffix) as hidden:
            hidden.mkdir()
            descriptor = os.open(hidden, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if not _hold(descriptor, hidden):
                    continue
                yield hidden
                return
            finally:
                os.close(descriptor)


def _hold(descriptor: int, path: Path) -> bool:
    """Lock a new temporary file or folder; False when a cleaner took it for abandoned before that."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # no locks here: nobody takes it for abandoned for a day
    return os.path.lexists(path)


def _temporary_paths(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / entry.name for entry in entries if LEFTOVER_NAME.fullmatch(entry.name))
    except OSError:
        return []


def _open_to_lock(path: Path) -> int:
    mode = os.lstat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | flags)  # NFS locks only what is open for writing
    except (IsADirectoryError, PermissionError):
        return os.open(path, os.O_RDONLY | flags)


def _is_abandoned(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - os.fstat(descriptor).st_mtime > ABANDONED_AFTER_S
    return True


def _check_is_folder_or_free(target: Path) -> None:
    if os.path.lexists(target) and not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(target))


def _put_folder(fresh: Path, target: Path) -> None:
    """Give the complete folder its name; the earlier one is left under the hidden name or removed."""
    _check_is_folder_or_free(target)
    if not os.path.lexists(target):
        os.rename(fresh, target)
        return
    fresh.chmod(stat.S_IMODE(target.stat().st_mode))
    try:
        rename_with_flag(fresh, target, EXCHANGE)
    except OSError as error:
        if error.errno not in NO_RENAME_FLAGS:
            raise
        # The earlier folder keeps its name inside the one that holds it aside, so that anyone can put it back.
        with _hidden_folder(target.parent, OLD) as aside:
            os.rename(target, aside / target.name)
            os.rename(fresh, target)


def _sync_tree(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(Path(root) / name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(root))


def _remove(path: Path) -> None:
    if path.suffix == OLD:
        _put_back(path)
    try:
        path.unlink()
    except FileNotFoundError:
        pass
    except OSError:
        shutil.rmtree(path, ignore_errors=True)


def _put_back(aside: Path) -> None:
    """Move what stands in a folder aside back to its own name, where nothing has taken that."""
    with suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(aside):
            if not os.path.lexists(aside.parent / name):
                os.rename(aside / name, aside.parent / name)
