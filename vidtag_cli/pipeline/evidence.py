"""The input as evidence: opened once and read-only; what is hashed is what is decoded, and it must stay the same."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vidtag_cli.errors import EvidenceError, InputError, UsageError, missing_file

SHA256_HEX = re.compile("[0-9a-fA-F]{64}")

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class EvidenceState:
    """An input at one moment: SHA-256 of its bytes, size, device and inode, and the inode's times in nanoseconds."""

    sha256: str
    size_bytes: int
    mtime_ns: int
    atime_ns: int
    ctime_ns: int
    inode: int
    device: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """An input that is open: whatever takes its name meanwhile, ``descriptor`` stays with the file itself."""

    path: Path
    descriptor: int

    def read_state(self) -> EvidenceState:
        """Return the state of the file, reading all of it.

        Raises InputError when it cannot be read and EvidenceError when someone writes to it at the same time.
        """
        before = os.fstat(self.descriptor)
        try:
            sha256 = _digest(self.descriptor, before.st_size)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        changes = _changes(before, os.fstat(self.descriptor))
        if changes:
            raise _changed(self.path, changes)
        return EvidenceState(
            sha256, before.st_size, before.st_mtime_ns, before.st_atime_ns, before.st_ctime_ns, before.st_ino,
            before.st_dev,
        )  # fmt: skip

    def check_unchanged(self, before: EvidenceState, after: EvidenceState) -> None:
        """Raise EvidenceError unless two states are of the same bytes, untouched, and still under the same name.

        The time of the inode's last change cannot be set back, so that a file which was rewritten and restored in
        between is found out too.
        """
        compared = ("sha256", "size_bytes", "device", "inode", "mtime_ns", "ctime_ns")
        changes = [name for name in compared if getattr(before, name) != getattr(after, name)]
        if changes:
            raise _changed(self.path, changes)
        try:
            named = os.stat(self.path)
        except OSError as error:
            raise EvidenceError(
                f"{self.path}: the file lost its name while it was read ({error.strerror or error}): nothing was "
                "written; work on a copy"
            ) from error
        if (named.st_dev, named.st_ino) != (before.device, before.inode):
            raise EvidenceError(
                f"{self.path}: another file took its name while it was read: nothing was written; work on a copy"
            )


@contextmanager
def open_evidence(path: Path) -> Iterator[Evidence]:
    """Yield a file opened for reading, which leaves its access time alone where the system allows that.

    Raises InputError when it is missing, empty, no regular file or cannot be opened. Nothing here waits for another
    process, whatever the name stands for by now.
    """
    try:
        descriptor = _open_read_only(path)
    except IsADirectoryError as error:
        raise InputError(f"{path}: this is a folder: name the videos in it") from error
    except FileNotFoundError as error:
        raise missing_file(path) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        _check_is_file(path, os.fstat(descriptor))
        yield Evidence(path, descriptor)
    finally:
        os.close(descriptor)


def _open_read_only(path: Path) -> int:
    # Without O_NONBLOCK opening a pipe waits for someone to write into it; regular files do not know the difference.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, flags | getattr(os, "O_NOATIME", 0))
    except PermissionError:
        # Only the owner may leave the access time alone; reading is still allowed.
        return os.open(path, flags)


def _check_is_file(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path}: this is a folder: name the videos in it")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: this is a pipe or a device: save what it gives to a file and name that")
    if status.st_size == 0:  # so are the files of /proc, which may keep a reader waiting
        raise InputError(f"{path}: is empty (0 bytes); the copy or the download may have failed")


def _digest(descriptor: int, size_bytes: int) -> str:
    """Return the SHA-256 of so many bytes from the start; the descriptor's own position stays where it is."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    offset = 0
    while offset < size_bytes:
        count = os.preadv(descriptor, [buffer[: size_bytes - offset]], offset)
        if count == 0:
            break
        digest.update(buffer[:count])
        offset += count
    return digest.hexdigest()


def _changes(before: os.stat_result, after: os.stat_result) -> list[str]:
    return [
        name
        for name, field in (("size_bytes", "st_size"), ("mtime_ns", "st_mtime_ns"), ("ctime_ns", "st_ctime_ns"))
        if getattr(before, field) != getattr(after, field)
    ]


def _changed(path: Path, changes: list[str]) -> EvidenceError:
    return EvidenceError(
        f"{path}: the file changed while it was read ({', '.join(changes)}): nothing was written; work on a copy"
    )


def sha256_of_evidence(path: Path) -> str:
    """Return the SHA-256 of a file, opened and checked as ``open_evidence`` does."""
    with open_evidence(path) as evidence:
        return evidence.read_state().sha256


def check_named_after(path: Path, state: EvidenceState, named_after_sha256: str | None) -> None:
    """Raise EvidenceError when outputs were named after other bytes than the file has now."""
    if named_after_sha256 is not None and state.sha256 != named_after_sha256:
        raise EvidenceError(f"{path}: the file changed since its outputs were named after its SHA-256: run again")


def check_is_sha256(text: str) -> None:
    """Raise UsageError for a text that can be no file's hash: a misspelt one must not look like changed evidence."""
    if not SHA256_HEX.fullmatch(text):
        raise UsageError(f"--expect-sha256 {text}: a SHA-256 has 64 digits from 0-9 and a-f; {len(text)} were given")


def check_expected_hash(path: Path, state: EvidenceState, expected_sha256: str | None) -> None:
    """Raise EvidenceError when the file is not the one the user named by its hash."""
    if expected_sha256 is not None and state.sha256 != expected_sha256.lower():
        raise EvidenceError(f"{path}: SHA-256 is {state.sha256}, not {expected_sha256.lower()} as expected")
