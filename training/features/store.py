"""A finished cache, memory-mapped."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from training.features.listing import CacheIdentity, CacheListing, read_listing, require_same
from vidtag_cli.errors import InputError

CACHE_FILE = "cache.json"

JOURNAL_FILE = "journal.jsonl"


@dataclass(frozen=True, slots=True, eq=False)
class FeatureCache:
    """Features of all frames of all clips; ``failed`` clips (key -> why) hold nothing."""

    identity: CacheIdentity
    listing: CacheListing
    failed: dict[str, str]
    shards: tuple[np.ndarray, ...]
    rows_per_shard: int

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """Return the features (n, D) float16 of the rows ``indices`` (n,)."""
        features = np.empty((len(indices), self.identity.feature_dim), np.float16)
        shard, row = np.divmod(indices, self.rows_per_shard)
        for number in np.unique(shard):
            inside = shard == number
            features[inside] = self.shards[number][row[inside]]
        return features

    def clips_of(self, frames: int) -> np.ndarray:
        """Return the clips (M,) that could be read and have at least so many frames."""
        readable = np.array([clip.key not in self.failed for clip in self.listing.clips], dtype=bool)
        return np.flatnonzero(readable & (self.listing.counts() >= frames))


def open_cache(folder: Path, identity: CacheIdentity | None = None) -> FeatureCache:
    """Return the cache in a folder.

    Raises InputError when there is none, it is not finished, or it has another identity than the one asked for.
    """
    stored, rows_per_shard = read_cache_json(folder)
    if identity is not None:
        require_same(folder, stored, identity)
    listing, journal = read_listing(folder), read_journal(folder)
    if journal.rows != listing.rows:
        raise InputError(
            f"{folder}: {journal.rows} of {listing.rows} frames are encoded; give the command that began it once more"
        )
    shards = []
    for number, begin in enumerate(range(0, listing.rows, rows_per_shard)):
        shape = (min(rows_per_shard, listing.rows - begin), stored.feature_dim)
        path = shard_path(folder, number)
        if not path.is_file() or path.stat().st_size != 2 * shape[0] * shape[1]:
            raise InputError(f"{path}: missing or of the wrong size; remove {folder} to encode anew")
        shards.append(np.memmap(path, "<f2", "r", shape=shape))
    return FeatureCache(stored, listing, journal.failed, tuple(shards), rows_per_shard)


def is_finished(folder: Path) -> bool:
    """Return whether every frame of the folder's cache is encoded; False when there is none."""
    if not (folder / CACHE_FILE).is_file():
        return False
    return read_journal(folder).rows == read_listing(folder).rows


def read_cache_json(folder: Path) -> tuple[CacheIdentity, int]:
    """Return the identity of the cache in a folder and the rows of a shard."""
    path = folder / CACHE_FILE
    try:
        document = json.loads(path.read_text("utf-8"))
        return CacheIdentity(**document["identity"]), int(document["rows_per_shard"])
    except FileNotFoundError as error:
        raise InputError(f"{folder}: no feature cache here; give the data set as NAME=PATH to make one") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not the description of a feature cache ({error!r}); remove {folder} to encode anew"
        ) from error


def shard_path(folder: Path, number: int) -> Path:
    """Return where a shard of a cache lies."""
    return folder / f"features-{number:05d}.f16"


@dataclass(slots=True)
class Journal:
    """``rows`` are on disk; ``failed`` clips could not be read: key -> why."""

    path: Path
    rows: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def add_rows(self, rows: int) -> None:
        """Record that so many rows are on disk in all."""
        self._append({"rows": rows})
        self.rows = rows

    def add_failure(self, key: str, reason: str) -> None:
        """Record that a clip cannot be read; its rows are zeros and nobody trains from them."""
        self._append({"failed": key, "reason": reason})
        self.failed[key] = reason

    def _append(self, entry: dict[str, Any]) -> None:
        with self.path.open("ab") as file:
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def read_journal(folder: Path, repair: bool = False) -> Journal:
    """Return the journal of a folder, empty when there is none. A last line that a kill left torn does not count; with
    ``repair`` it is cut off, so that one can go on writing.
    """
    journal = Journal(folder / JOURNAL_FILE)
    if not journal.path.is_file():
        return journal
    content = journal.path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    try:
        for line in whole.splitlines():
            entry = json.loads(line)
            if "rows" in entry:
                journal.rows = int(entry["rows"])
            else:
                journal.failed[entry["failed"]] = entry["reason"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{journal.path}: damaged ({error!r}); remove {folder} to encode anew") from error
    if repair and len(whole) < len(content):
        os.truncate(journal.path, len(whole))
    return journal
