"""What a photograph says of itself: orientation, position and time from EXIF. A claim, never an input of the estimate.

JPEG, PNG, WebP and TIFF keep it in the same form, a TIFF directory; only where that lies differs.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from vidtag_cli.video.location import EmbeddedLocation

LOCATION_KEY = "exif GPS"

_MOST_BYTES = 1 << 16
"""Read at once: a table of entries."""

_MOST_VALUE_BYTES = 256
"""Of an entry that is read: a stranger's file may point with thousands of them at the same megabyte."""

_MOST_PARTS = 100_000
_MOST_ENTRIES = 4096
_MOST_PAGES = 1000
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8}
_COMPRESSION, _ORIENTATION, _EXIF, _GPS, _TAKEN, _ZONE = 0x0103, 0x0112, 0x8769, 0x8825, 0x9003, 0x9011
_LAT_REF, _LAT, _LON_REF, _LON, _ALT_REF, _ALT, _STATUS = 1, 2, 3, 4, 5, 6, 9
_JPEG_COMPRESSIONS = (6.0, 7.0)
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_EXIF_HEAD = b"Exif\0\0"

# First row and first column of each orientation as a display matrix: (a, b, c, d) of orientation_from_matrix.
_MATRICES = {
    1: (1, 0, 0, 1), 2: (-1, 0, 0, 1), 3: (-1, 0, 0, -1), 4: (1, 0, 0, -1),
    5: (0, 1, 1, 0), 6: (0, 1, -1, 0), 7: (0, -1, -1, 0), 8: (0, -1, 1, 0),
}  # fmt: skip
_ONE = 1 << 16


@dataclass(frozen=True, slots=True)
class Exif:
    """``display_matrix`` as of a video, None where none is stated; ``taken`` is the time as written, with its zone
    where there is one; ``pages`` counts the pictures of the file; ``is_animated`` says that they follow in time;
    ``is_jpeg_in_tiff`` that a TIFF holds them compressed as JPEG.
    """

    display_matrix: tuple[int, ...] | None = None
    location: EmbeddedLocation | None = None
    taken: str | None = None
    pages: int = 1
    is_animated: bool = False
    is_jpeg_in_tiff: bool = False


def read_exif(file: BinaryIO) -> Exif:
    """Return what a picture says of itself; of one that is damaged, what can be read."""
    file.seek(0)
    head = file.read(12)
    is_animated = False
    if head[:4] in (b"II*\0", b"MM\0*"):
        return _read_directory(file, 0, None)
    if head.startswith(_JPEG):
        block = next(_jpeg_blocks(file), None)
    elif head.startswith(_PNG):
        chunks = dict(_chunks(file, 8, ">I4s", 4))
        block, is_animated = chunks.get(b"eXIf"), b"acTL" in chunks
    elif head[:4] == b"RIFF" and head[8:] == b"WEBP":
        chunks = dict(_chunks(file, 12, "<4sI", 0))
        block, is_animated = chunks.get(b"EXIF"), b"ANIM" in chunks
    else:
        return Exif()
    found = Exif() if block is None else _read_directory(file, block[0], block[1])
    return Exif(found.display_matrix, found.location, found.taken, 1, is_animated)


Block = tuple[int, int]
"""Where a block begins in the file, and where it ends."""


def _jpeg_blocks(file: BinaryIO) -> Iterator[Block]:
    """Yield the EXIF block of a JPEG, which comes before its picture."""
    at = 2
    for _ in range(_MOST_PARTS):
        file.seek(at)
        part = file.read(10)
        if len(part) < 4 or part[0] != 0xFF or part[1] in (0xDA, 0xD9):
            return
        length = int.from_bytes(part[2:4], "big")
        if part[1] == 0xE1 and part[4:] == _EXIF_HEAD:
            yield at + 10, at + 2 + length
        at += 2 + length


def _chunks(file: BinaryIO, at: int, layout: str, tail_bytes: int) -> Iterator[tuple[bytes, Block]]:
    """Yield name and place of the chunks of a PNG or a RIFF file."""
    for _ in range(_MOST_PARTS):
        file.seek(at)
        header = file.read(8)
        if len(header) < 8:
            return
        first, second = struct.unpack(layout, header)
        length, name = (first, second) if layout.startswith(">") else (second, first)
        yield name, (at + 8, at + 8 + length)
        at += 8 + length + (tail_bytes or length % 2)


def _read_directory(file: BinaryIO, begin: int, end: int | None) -> Exif:
    """Return what the TIFF directories of a block say; of a TIFF itself ``end`` is None, and its pages are counted."""
    tiff = _Tiff.open(file, begin, end)
    if tiff is None:
        return Exif()
    first, after = tiff.directory(tiff.first_offset)
    (orientation,) = tiff.numbers(first.get(_ORIENTATION))[:1] or (1,)
    matrix = _MATRICES.get(int(orientation)) if orientation != 1 and math.isfinite(orientation) else None
    pages, seen = 1, {tiff.first_offset}
    while end is None and after and after not in seen and pages < _MOST_PAGES:
        seen.add(after)
        after = tiff.after(after)
        pages += 1
    compression = tiff.numbers(first.get(_COMPRESSION))[:1]
    return Exif(
        None if matrix is None else _as_display_matrix(matrix), _location(tiff, first), _taken(tiff, first), pages,
        is_jpeg_in_tiff=end is None and bool(compression) and compression[0] in _JPEG_COMPRESSIONS,
    )  # fmt: skip


def _as_display_matrix(matrix: tuple[int, int, int, int]) -> tuple[int, ...]:
    a, b, c, d = (number * _ONE for number in matrix)
    return a, b, 0, c, d, 0, 0, 0, 1 << 30


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    content: bytes


class _Tiff:
    """The directories of a block; what lies outside it is not there."""

    def __init__(self, file: BinaryIO, begin: int, end: int | None, order: str, first_offset: int) -> None:
        self._file, self._begin, self._end, self._order, self.first_offset = file, begin, end, order, first_offset

    @classmethod
    def open(cls, file: BinaryIO, begin: int, end: int | None) -> _Tiff | None:
        file.seek(begin)
        head = file.read(8)
        if head[:6] == _EXIF_HEAD:  # some WebP have it twice
            return cls.open(file, begin + 6, end)
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(head[:4])
        if order is None or len(head) < 8:
            return None
        return cls(file, begin, end, order, struct.unpack(f"{order}I", head[4:])[0])

    def _read(self, offset: int, count: int) -> bytes:
        at = self._begin + offset
        if count > _MOST_BYTES or (self._end is not None and at + count > self._end):
            return b""
        self._file.seek(at)
        content = self._file.read(count)
        return content if len(content) == count else b""

    def directory(self, offset: int) -> tuple[dict[int, _Entry], int]:
        """Return the entries of a directory by tag, and the offset of the next one, 0 for none."""
        (count,) = struct.unpack(f"{self._order}H", self._read(offset, 2) or b"\0\0")
        entries: dict[int, _Entry] = {}
        table = self._read(offset + 2, 12 * min(count, _MOST_ENTRIES))
        for number in range(len(table) // 12):
            tag, kind, values, inline = struct.unpack(f"{self._order}HHI4s", table[12 * number : 12 * number + 12])
            size = _SIZES.get(kind, 0) * values
            if 0 < size <= _MOST_VALUE_BYTES:
                where = struct.unpack(f"{self._order}I", inline)[0]
                entries.setdefault(tag, _Entry(kind, inline[:size] if size <= 4 else self._read(where, size)))
        return entries, self.after(offset)

    def after(self, offset: int) -> int:
        """Return the offset of the directory after one, 0 for none."""
        (count,) = struct.unpack(f"{self._order}H", self._read(offset, 2) or b"\0\0")
        found: int = struct.unpack(f"{self._order}I", self._read(offset + 2 + 12 * count, 4) or b"\0\0\0\0")[0]
        return found

    def numbers(self, entry: _Entry | None) -> list[float]:
        """Return the numbers of an entry; a fraction over zero is NaN."""
        if entry is None:
            return []
        code = {1: "B", 3: "H", 4: "I", 5: "I", 9: "i", 10: "i"}.get(entry.kind)
        if code is None or len(entry.content) % struct.calcsize(code):
            return []
        values = struct.unpack(f"{self._order}{len(entry.content) // struct.calcsize(code)}{code}", entry.content)
        if entry.kind not in (5, 10):
            return [float(value) for value in values]
        return [above / below if below else math.nan for above, below in zip(values[::2], values[1::2], strict=False)]

    def inner(self, entry: _Entry | None) -> dict[int, _Entry]:
        """Return the directory that an entry points to."""
        (offset,) = self.numbers(entry)[:1] or (0.0,)
        return self.directory(int(offset))[0] if offset > 0.0 else {}


def _text(entry: _Entry | None) -> str:
    content = b"" if entry is None else entry.content
    text = content.split(b"\0")[0].decode("ascii", errors="replace").strip()
    return "".join(character if character.isprintable() else " " for character in text)


def _taken(tiff: _Tiff, first: dict[int, _Entry]) -> str | None:
    inner = tiff.inner(first.get(_EXIF))
    taken = _text(inner.get(_TAKEN))
    return f"{taken} {_text(inner.get(_ZONE))}".strip() if taken else None


def _location(tiff: _Tiff, first: dict[int, _Entry]) -> EmbeddedLocation | None:
    gps = tiff.inner(first.get(_GPS))
    lat_deg = _angle_deg(tiff.numbers(gps.get(_LAT)), _text(gps.get(_LAT_REF)), "NS", 90.0)
    lon_deg = _angle_deg(tiff.numbers(gps.get(_LON)), _text(gps.get(_LON_REF)), "EW", 180.0)
    if lat_deg is None or lon_deg is None:
        return None
    altitude = tiff.numbers(gps.get(_ALT))
    is_below = tiff.numbers(gps.get(_ALT_REF))[:1] == [1.0]
    alt_m = None if not altitude or not math.isfinite(altitude[0]) else (-altitude[0] if is_below else altitude[0])
    has_fix = _text(gps.get(_STATUS)) != "V"  # "measurement void"
    is_place = has_fix and (lat_deg != 0.0 or lon_deg != 0.0)
    return EmbeddedLocation(lat_deg, -180.0 if lon_deg == 180.0 else lon_deg, alt_m, LOCATION_KEY, is_place)


def _angle_deg(parts: list[float], reference: str, sides: str, most_deg: float) -> float | None:
    """Return an angle of degrees, minutes and seconds, None for one that is none."""
    if not 1 <= len(parts) <= 3 or reference[:1] not in (*sides,):
        return None
    parts = [0.0 if math.isnan(part) and number else part for number, part in enumerate(parts)]  # 0/0 seconds
    angle_deg = sum(part / 60.0**power for power, part in enumerate(parts))
    if not 0.0 <= angle_deg <= most_deg:
        return None
    return -angle_deg if reference[:1] == sides[1] else angle_deg
