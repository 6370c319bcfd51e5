"""The input as evidence: opened read-only, hashed before and after, never trusted to stay the same."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from vidtag_cli.errors import EvidenceError, InputError, UsageError, missing_file

SHA256_HEX = re.compile("[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class EvidenceState:
    """An input at one moment: SHA-256 of its bytes, size, and the times of its inode in nanoseconds."""

    sha256: str
    size_bytes: int
    mtime_ns: int
    atime_ns: int
    ctime_ns: int
    inode: int


def read_evidence_state(path: Path) -> EvidenceState:
    """Return the state of a file, reading all of it without changing its access time where the system allows that.

    Raises InputError when it is missing, is no regular file or cannot be read.
    """
    try:
        with os.fdopen(_open_read_only(path), "rb") as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise InputError(f"{path}: this is a pipe or a device: save what it gives to a file and name that")
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except IsADirectoryError as error:
        raise InputError(f"{path}: this is a folder: name the videos in it") from error
    except FileNotFoundError as error:
        raise missing_file(path) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    return EvidenceState(
        digest, before.st_size, before.st_mtime_ns, before.st_atime_ns, before.st_ctime_ns, before.st_ino
    )


def _open_read_only(path: Path) -> int:
    # Without O_NONBLOCK opening a pipe waits for someone to write into it; regular files do not know the difference.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, flags | getattr(os, "O_NOATIME", 0))
    except PermissionError:
        # Only the owner may leave the access time alone; reading is still allowed.
        return os.open(path, flags)


def check_is_sha256(text: str) -> None:
    """Raise UsageError for a text that can be no file's hash: a misspelt one must not look like changed evidence."""
    if not SHA256_HEX.fullmatch(text):
        raise UsageError(f"--expect-sha256 {text}: a SHA-256 has 64 digits from 0-9 and a-f; {len(text)} were given")


def check_expected_hash(path: Path, state: EvidenceState, expected_sha256: str | None) -> None:
    """Raise EvidenceError when the file is not the one the user named by its hash."""
    if expected_sha256 is not None and state.sha256 != expected_sha256.lower():
        raise EvidenceError(f"{path}: SHA-256 is {state.sha256}, not {expected_sha256.lower()} as expected")


def check_unchanged(path: Path, before: EvidenceState, after: EvidenceState) -> None:
    """Raise EvidenceError when the bytes of the file changed between two readings."""
    if before.sha256 != after.sha256:
        raise EvidenceError(f"{path}: the file changed while it was read: nothing was written; work on a copy")
