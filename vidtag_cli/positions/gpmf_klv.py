"""GoPro's telemetry notation GPMF: key, type, size and count, then the values, padded to four bytes, big-endian.

Fresh from the description in GoPro's repository gopro/gpmf-parser, README "KLV Design" and "Length". The bytes come
from strangers: every length is checked against what is there, and depth and number of elements have a limit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_DEPTH = 8
"""Cameras nest three deep: device, stream, values."""

MAX_ELEMENTS = 20_000
"""Of one payload, nests included; a camera writes a few hundred a second."""

_HEADER = struct.Struct(">4scBH")
_NEST = b"\0"
_NUMBERS = {
    b"b": "b",
    b"B": "B",
    b"s": "h",
    b"S": "H",
    b"l": "i",
    b"L": "I",
    b"f": "f",
    b"d": "d",
    b"j": "q",
    b"J": "Q",
}
_COMPLEX = b"?"


class GpmfError(ValueError):
    """Bytes that are not GPMF; the message says where they stop being so."""


@dataclass(frozen=True, slots=True)
class Element:
    """One key with its raw values: ``count`` structures of ``size`` bytes, or, in a nest, further elements."""

    key: str
    kind: bytes
    size: int
    count: int
    data: bytes
    children: tuple[Element, ...] = ()

    def nests(self, key: str) -> Iterator[Element]:
        """Yield the nests of a key at any depth, in order."""
        for child in self.children:
            if child.key == key:
                yield child
            yield from child.nests(key)

    def rows(self, kinds: str | None = None) -> list[tuple[float, ...]]:
        """Return ``count`` tuples of numbers. ``kinds`` are the letters of a structure of mixed types (key TYPE).

        Raises GpmfError when type and size do not fit each other.
        """
        if self.kind == _COMPLEX:
            layout = "".join(_number_format(letter.encode("ascii", "replace"), self.key) for letter in kinds or "")
        else:
            one = _number_format(self.kind, self.key)
            layout = one * (self.size // struct.calcsize(f">{one}"))
        structure = struct.Struct(f">{layout}")
        if structure.size == 0 or structure.size != self.size:
            raise GpmfError(f"{self.key}: structures of {self.size} bytes cannot hold {layout or 'nothing'!r}")
        return list(structure.iter_unpack(self.data))

    def text(self) -> str:
        """Return the bytes as text up to the first NUL."""
        return self.data.partition(b"\0")[0].decode("latin-1")


def parse_gpmf(payload: bytes) -> Element:
    """Return a root element without a key that holds the payload's elements.

    Raises GpmfError when a length points past its nest, or for more depth or elements than a camera writes.
    """
    return Element("", _NEST, 0, 0, b"", _Parser().elements(memoryview(payload), 0))


def number_of(elements: Sequence[Element], key: str) -> float | None:
    """Return the first number of the first element of a key among ``elements``, or None."""
    for element in elements:
        if element.key == key and element.count and element.kind in _NUMBERS:
            return float(element.rows()[0][0])
    return None


class _Parser:
    def __init__(self) -> None:
        self._left = MAX_ELEMENTS

    def elements(self, content: memoryview, depth: int) -> tuple[Element, ...]:
        if depth > MAX_DEPTH:
            raise GpmfError(f"nested more than {MAX_DEPTH} deep")
        found = []
        begin = 0
        while begin + _HEADER.size <= len(content):
            key, kind, size, count = _HEADER.unpack_from(content, begin)
            if key == b"\0\0\0\0":
                break  # the rest of a payload may be filled with zeros
            end = begin + _HEADER.size + size * count
            if end > len(content):
                raise GpmfError(f"{_name(key)} promises {size * count} bytes where {len(content) - begin - 8} are left")
            self._left -= 1
            if self._left < 0:
                raise GpmfError(f"more than {MAX_ELEMENTS} elements")
            inside = content[begin + _HEADER.size : end]
            is_nest = kind == _NEST
            children = self.elements(inside, depth + 1) if is_nest else ()
            found.append(Element(_name(key), kind, size, count, b"" if is_nest else bytes(inside), children))
            begin = end + -end % 4
        return tuple(found)


def _name(key: bytes) -> str:
    return key.decode("latin-1").encode("unicode_escape").decode("ascii")


def _number_format(kind: bytes, key: str) -> str:
    try:
        return _NUMBERS[kind]
    except KeyError:
        raise GpmfError(f"{key}: values of type {kind!r} are no numbers") from None
