"""How large the cache of engines may grow, and what goes when it is larger: the files unused for longest."""

from __future__ import annotations

import math
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from vidtag_cli.engines.sealed_store import MANIFEST_SUFFIX
from vidtag_cli.errors import UsageError
from vidtag_cli.files import LEFTOVER_NAME, remove_leftovers

LIMIT_VARIABLE = "VIDTAG_ENGINE_CACHE_GB"

DEFAULT_LIMIT_GB = 20.0
"""Engines of the full-size model take 1.5 GB in fp16 and 2.9 GB in fp32 for each kind of GPU and each library."""

IN_USE_S = 3600.0
"""Files used in this time stay whatever the limit: the engines of one model, built one after the other, must not
displace each other.
"""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of the cache with its manifest: their bytes together, and when it was last built or loaded."""

    path: Path
    size_bytes: int
    used_s: float

    def remove(self) -> None:
        """Take the file out of the cache; one that another process removed first is no error."""
        self.path.unlink(missing_ok=True)
        _manifest_of(self.path).unlink(missing_ok=True)


def cache_limit_bytes() -> int:
    """Return the limit of ``$VIDTAG_ENGINE_CACHE_GB``, in GB of 1e9 bytes, or the default; raises UsageError when it
    is not a number above 0.
    """
    text = os.environ.get(LIMIT_VARIABLE)
    try:
        limit_gb = DEFAULT_LIMIT_GB if not text else float(text)
    except ValueError:
        limit_gb = math.nan
    if not 0.0 < limit_gb < math.inf:
        raise UsageError(f"${LIMIT_VARIABLE} is {text!r}: give the most GB that engines may take, such as 20")
    return int(limit_gb * 1e9)


def stored_bytes(folder: Path) -> int:
    """Return the bytes that all files of a cache take; 0 when there is no such folder."""
    return sum(file.size_bytes for file in _stored_files(folder)) if folder.is_dir() else 0


def make_room(folder: Path, limit_bytes: int) -> list[StoredFile]:
    """Return the files removed so that a cache takes at most ``limit_bytes``: those unused for longest, first of all.

    What was used within ``IN_USE_S`` stays, and so may exceed the limit. What killed processes left goes in any case.
    """
    now_s = time.time()
    remove_leftovers(folder)
    files = sorted(_stored_files(folder), key=lambda file: file.used_s)
    removed = []
    excess_bytes = sum(file.size_bytes for file in files) - limit_bytes
    for file in files:
        if excess_bytes <= 0 or now_s - file.used_s <= IN_USE_S:
            break
        removed.append(file)
        excess_bytes -= file.size_bytes
    for file in removed:
        file.remove()
    return removed


def _stored_files(folder: Path) -> list[StoredFile]:
    """Return everything that takes room; a file that vanishes meanwhile was removed by another process."""
    files = []
    for path in folder.iterdir():
        if path.suffix == MANIFEST_SUFFIX and path.with_suffix("").exists():
            continue  # counted with the file it belongs to
        try:
            facts = path.lstat()
            manifest_bytes = _manifest_of(path).lstat().st_size if _manifest_of(path).exists() else 0
        except FileNotFoundError:
            continue
        # A lock is empty, and a process may be waiting for it; folders are none of this program's; a file that is
        # still being written is not in the cache yet.
        is_stored = path.suffix != ".lock" and not LEFTOVER_NAME.fullmatch(path.name)
        if is_stored and not stat.S_ISDIR(facts.st_mode):
            files.append(StoredFile(path, facts.st_size + manifest_bytes, facts.st_mtime))
    return files


def _manifest_of(path: Path) -> Path:
    return path.with_name(path.name + MANIFEST_SUFFIX)
