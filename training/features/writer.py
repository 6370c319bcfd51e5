"""Writing a cache: rows in order, shard after shard, each batch safe on disk before the journal tells of it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from training.checkpoint import write_json
from training.features.listing import CacheIdentity, CacheListing, require_same
from training.features.store import CACHE_FILE, Journal, read_cache_json, read_journal, shard_path
from vidtag_cli.errors import InputError
from vidtag_cli.files import exclusive_lock

ROWS_PER_SHARD = 262_144
"""940 MB at 1792 columns: a file that copies in one go, and few enough of them to keep all open."""


class FeatureWriter:
    """Appends rows to a cache that :func:`open_writer` opened."""

    def __init__(self, folder: Path, listing: CacheListing, feature_dim: int, rows_per_shard: int) -> None:
        self._folder, self._rows_per_shard = folder, rows_per_shard
        self._row_bytes = 2 * feature_dim
        self.journal: Journal = read_journal(folder, repair=True)
        self._total = listing.rows
        self._cut_back()

    @property
    def rows(self) -> int:
        """The number of rows on disk: where to go on."""
        return self.journal.rows

    def append(self, features: np.ndarray) -> None:
        """Write the next rows (n, D), kept as float16; they are safe when this returns."""
        rows = np.ascontiguousarray(features, dtype="<f2")
        if self.rows + len(rows) > self._total:
            raise ValueError(f"{self._folder}: {len(rows)} rows more than the listing has")
        written = 0
        while written < len(rows):
            shard, row = divmod(self.rows + written, self._rows_per_shard)
            part = rows[written : written + self._rows_per_shard - row]
            with shard_path(self._folder, shard).open("ab") as file:
                file.write(part.tobytes())
                file.flush()
                os.fsync(file.fileno())
            written += len(part)
        self.journal.add_rows(self.rows + len(rows))

    def _cut_back(self) -> None:
        """Remove what a killed process wrote after its last line in the journal."""
        last, row = divmod(self.rows, self._rows_per_shard)
        for path in self._folder.glob(shard_path(self._folder, 0).name.replace("00000", "*")):
            shard = int(path.stem.rsplit("-", 1)[1])
            size_bytes = (self._rows_per_shard if shard < last else row if shard == last else 0) * self._row_bytes
            if path.stat().st_size < size_bytes:
                raise InputError(f"{path}: shorter than its journal says; remove {self._folder} to encode anew")
            os.truncate(path, size_bytes)


@contextmanager
def open_writer(
    folder: Path, identity: CacheIdentity, listing: CacheListing, rows_per_shard: int = ROWS_PER_SHARD
) -> Iterator[FeatureWriter]:
    """Give a writer that goes on where the folder's cache stopped, or begins one.

    Raises InputError when the folder holds a cache of another identity or another process is writing it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(exclusive_lock(folder / "lock"))
        except BlockingIOError as error:
            raise InputError(f"{folder}: another process is writing this cache; wait for it") from error
        if (folder / CACHE_FILE).is_file():
            stored, rows_per_shard = read_cache_json(folder)
            require_same(folder, stored, identity)
        else:
            listing.write(folder)
            write_json(
                folder / CACHE_FILE, {"identity": dataclasses.asdict(identity), "rows_per_shard": rows_per_shard}
            )
        yield FeatureWriter(folder, listing, identity.feature_dim, rows_per_shard)
