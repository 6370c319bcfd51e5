"""The journal of a cache: one line for every batch of rows that is safely on disk, and for every clip that failed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

JOURNAL_FILE = "journal.jsonl"


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
    for line in whole.splitlines():
        entry = json.loads(line)
        if "rows" in entry:
            journal.rows = entry["rows"]
        else:
            journal.failed[entry["failed"]] = entry["reason"]
    if repair and len(whole) < len(content):
        os.truncate(journal.path, len(whole))
    return journal
