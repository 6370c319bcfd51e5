"""What the boxes of a file of the MP4 and QuickTime family say that no demuxer hands out: whether its index is there,
whether it is whole, encrypted, a picture format, and how its tracks are turned.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

_FIRST_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"uuid"})
_PARENTS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})
_PICTURE_BRANDS = frozenset({
    b"mif1", b"mif2", b"msf1", b"heic", b"heix", b"heim", b"heis", b"hevm", b"hevs", b"avif", b"avis", b"avio",
    b"jpeg", b"jpgs", b"j2ki", b"j2is", b"crx ",
})  # fmt: skip
_PICTURE_BRANDS_WITH_MIF1 = frozenset({b"hevc", b"hevx"})  # of HEIF sequences, and of no video
_ENCRYPTED_PICTURES = frozenset({b"encv", b"drmi"})  # Common Encryption, and Apple's FairPlay
_MAX_BOXES = 1_000_000
_MAX_BRANDS_BYTES = 4096
_FRACTION_BITS = (16, 16, 30)
"""Of the three columns of a matrix: fixed-point numbers of 16.16, 16.16 and 2.30 bits."""
_IDENTITY = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)

Matrix = tuple[int, ...]


@dataclass(slots=True)
class Boxes:
    """What was read: whether there is an index (``moov``) and media (``mdat``), whether the pictures are encrypted, the
    brand where it is one of a picture format, how many bytes the last box promises beyond the end of the file, and the
    display matrix (nine integers) of each track id that is not shown as stored.
    """

    has_index: bool = False
    has_media: bool = False
    is_encrypted: bool = False
    picture_brand: str | None = None
    missing_bytes: int = 0
    display_matrices: dict[int, Matrix] = field(default_factory=dict)


def read_boxes(file: BinaryIO, size_bytes: int) -> Boxes | None:
    """Return what the boxes of an open file say, or None when it is of another family.

    Reads a few bytes of each box and jumps over the rest; what is damaged ends the reading and raises nothing.
    """
    file.seek(0)
    if file.read(8)[4:8] not in _FIRST_BOXES:
        return None
    boxes = Boxes()
    movie_matrix: Matrix = _IDENTITY
    for kind, begin, end in _walk(file, 0, size_bytes):
        if kind == b"ftyp":
            boxes.picture_brand = boxes.picture_brand or _picture_brand(_payload(file, begin, end, _MAX_BRANDS_BYTES))
        elif kind == b"mvhd":
            movie_matrix = _matrix(_payload(file, begin, end, 128), 20, 32, 16) or _IDENTITY
        elif kind == b"tkhd":
            _read_track_header(_payload(file, begin, end, 128), movie_matrix, boxes)
        elif kind == b"stsd":
            boxes.is_encrypted |= _payload(file, begin, end, 16)[12:16] in _ENCRYPTED_PICTURES
        boxes.has_index |= kind == b"moov"
        boxes.has_media |= kind == b"mdat"
        boxes.missing_bytes = max(boxes.missing_bytes, end - size_bytes)
    return boxes


def _walk(file: BinaryIO, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, first byte of the content and end of every box from ``begin`` to ``end``, parents before children."""
    waiting = [(begin, end)]
    for _ in range(_MAX_BOXES):
        while waiting and waiting[-1][0] + 8 > waiting[-1][1]:
            waiting.pop()
        if not waiting:
            return
        begin, end = waiting[-1]
        file.seek(begin)
        header = file.read(16)
        size, kind = struct.unpack(">I4s", header[:8].ljust(8, b"\0"))
        content = begin + 8
        if size == 1 and len(header) == 16:
            size, content = struct.unpack(">Q", header[8:])[0], begin + 16
        elif size == 0:
            size = end - begin
        if size < content - begin or not kind.strip(b"\0"):
            waiting.pop()  # no box: padding, or damage
            continue
        yield kind, content, begin + size
        waiting[-1] = (begin + size, end)
        if kind in _PARENTS:
            waiting.append((content, min(begin + size, end)))


def _payload(file: BinaryIO, begin: int, end: int, most_bytes: int) -> bytes:
    file.seek(begin)
    return file.read(max(0, min(end - begin, most_bytes)))


def _picture_brand(brands: bytes) -> str | None:
    """Return the brand of a picture format that a file states for itself, or None for a video."""
    major, compatible = brands[:4], {brands[at : at + 4] for at in range(8, len(brands), 4)}
    is_picture = major in _PICTURE_BRANDS or (major in _PICTURE_BRANDS_WITH_MIF1 and b"mif1" in compatible)
    return major.decode(errors="replace").strip() if is_picture else None


def _read_track_header(content: bytes, movie_matrix: Matrix, boxes: Boxes) -> None:
    is_long = content[:1] == b"\1"
    id_at = 20 if is_long else 12
    matrix = _matrix(content, 24, 36, 16)
    if matrix is not None and len(content) >= id_at + 4:
        product = _product(matrix, movie_matrix)
        if product != _IDENTITY:
            boxes.display_matrices[struct.unpack_from(">I", content, id_at)[0]] = product


def _matrix(content: bytes, short_header: int, long_header: int, between: int) -> Matrix | None:
    """Return the matrix of a movie or track header, whose fields before it are longer in version 1."""
    at = (long_header if content[:1] == b"\1" else short_header) + between
    return struct.unpack_from(">9i", content, at) if len(content) >= at + 36 else None


def _product(track: Matrix, movie: Matrix) -> Matrix:
    """Return the matrix that first does what the track asks for and then what the movie does."""
    rows, columns = range(0, 9, 3), range(3)
    return tuple(
        sum((track[row + k] * movie[3 * k + column]) >> _FRACTION_BITS[k] for k in columns)
        for row in rows
        for column in columns
    )
