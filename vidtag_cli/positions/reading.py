"""Reading a file of positions, whatever its format: once, in whole, with the hash of the very bytes that were read."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from vidtag_cli.errors import InputError
from vidtag_cli.positions.contents import Contents
from vidtag_cli.positions.geojson import read_geojson
from vidtag_cli.positions.gopro import read_gopro
from vidtag_cli.positions.gpx import read_gpx
from vidtag_cli.positions.position import Fault, MalformedError, Position
from vidtag_cli.positions.table import read_table

MAX_BYTES = 256 << 20
"""A day of fixes, twenty a second, takes 170 MB; more is not a track and not read into memory."""

LISTED_PLACES = 5

READERS: dict[str, Callable[[bytes], Contents]] = {
    ".gpx": read_gpx,
    ".csv": read_table,
    ".tsv": read_table,
    ".txt": read_table,
    ".geojson": read_geojson,
    ".json": read_geojson,
}
"""By the suffix of the file, in lower case."""

EMBEDDED_READERS: dict[str, Callable[[BufferedReader], Contents]] = {
    ".mp4": read_gopro,
    ".mov": read_gopro,
    ".360": read_gopro,
}
"""Videos that carry their own track."""


@dataclass(frozen=True, slots=True)
class PositionFile:
    """A file of positions: SHA-256 of its bytes, and what is in it."""

    path: Path
    sha256: str
    contents: Contents

    def usable(self) -> list[Position]:
        """Return the positions without a fault."""
        return [position for position in self.contents.positions if position.fault is None]

    def left_out(self) -> dict[Fault, list[str]]:
        """Return where the positions with a fault stand, by fault."""
        places: defaultdict[Fault, list[str]] = defaultdict(list)
        for position in self.contents.positions:
            if position.fault is not None:
                places[position.fault].append(position.where)
        return dict(places)


def read_position_file(path: str | Path) -> PositionFile:
    """Return all positions of a GPX, CSV or GeoJSON file, or of the telemetry in a GoPro's video.

    Raises InputError, with the line where there is one, for a file that is missing, too large, malformed, or of another
    format.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix not in READERS and suffix not in EMBEDDED_READERS:
        known = ", ".join((*READERS, *EMBEDDED_READERS))
        raise InputError(f"{file}: positions are read from {known}, not from {suffix!r}: convert the file to one")
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise InputError(f"{file}: cannot be read: not a regular file: save it to a file and name that")
            return PositionFile(file, *_read(stream, suffix))
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror or error}") from error
    except MalformedError as error:
        raise InputError(f"{file}: {error}") from error


def left_out_text(places: Mapping[str, Sequence[str]]) -> str:
    """Return what was left out of a file, in words: "2 at 0, 0 (line 2, line 4), 1 without a position (line 9)"."""
    return ", ".join(f"{len(listed):,} {reason} ({_listed(listed)})" for reason, listed in places.items())


def _listed(places: Sequence[str]) -> str:
    return ", ".join(places[:LISTED_PLACES]) + (", ..." if len(places) > LISTED_PLACES else "")


def _read(stream: BufferedReader, suffix: str) -> tuple[str, Contents]:
    if suffix in EMBEDDED_READERS:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
        return sha256, EMBEDDED_READERS[suffix](stream)
    content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise MalformedError(f"larger than {MAX_BYTES >> 20} MB: cut the part that is needed out of it")
    return hashlib.sha256(content).hexdigest(), READERS[suffix](content)
