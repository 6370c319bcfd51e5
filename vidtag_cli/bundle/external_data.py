"""Which files an ONNX graph reads its weights from, found without the onnx package.

An ONNX file may keep tensors in other files and names them by path; a foreign model could so read any file of the
machine into memory. The bundle therefore looks at these paths before an engine does. Only the fields of onnx.proto
that lead to a tensor are followed; the rest of the protocol buffer is skipped by length.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from vidtag_cli.errors import ModelError

_MESSAGE_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
}
"""Message to its fields that can lead to a tensor, by number, as numbered in onnx.proto."""

_EXTERNAL_KEY, _EXTERNAL_VALUE = 1, 2
_MAX_DEPTH = 100
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def external_data_locations(onnx_path: Path) -> tuple[str, ...]:
    """Return the paths, relative to the graph's folder, of the files that hold its weights; sorted, each once.

    Raises ModelError when the file is not a protocol buffer.
    """
    with onnx_path.open("rb") as file:
        if onnx_path.stat().st_size == 0:
            raise ModelError(f"{onnx_path}: an empty file is no ONNX graph")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return tuple(sorted(set(_locations(data, 0, len(data), "model", 0))))
            except (ValueError, IndexError) as error:
                raise ModelError(f"{onnx_path}: not an ONNX graph: {error}") from error


def _locations(data: mmap.mmap, start: int, end: int, message: str, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        raise ValueError("graphs are nested too deeply")
    followed = _MESSAGE_FIELDS[message]
    for field, from_byte, to_byte in _length_delimited_fields(data, start, end):
        inner = followed.get(field)
        if inner == "external":
            yield from _location_of(data, from_byte, to_byte)
        elif inner is not None:
            yield from _locations(data, from_byte, to_byte, inner, depth + 1)


def _location_of(data: mmap.mmap, start: int, end: int) -> Iterator[str]:
    entry = {field: data[a:b].decode("utf-8") for field, a, b in _length_delimited_fields(data, start, end)}
    if entry.get(_EXTERNAL_KEY) == "location":
        yield entry.get(_EXTERNAL_VALUE, "")


def _length_delimited_fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    position = start
    while position < end:
        tag, position = _varint(data, position, end)
        field, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            _, position = _varint(data, position, end)
        elif wire_type == _FIXED64:
            position += 8
        elif wire_type == _FIXED32:
            position += 4
        elif wire_type == _BYTES:
            length, position = _varint(data, position, end)
            if position + length > end:
                raise ValueError(f"a field at byte {position} is longer than the file")
            yield field, position, position + length
            position += length
        else:
            raise ValueError(f"wire type {wire_type} at byte {position}")
    if position != end:
        raise ValueError(f"a field ends at byte {position}, past the end of its message")


def _varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 64:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError(f"a number at byte {position} does not end")
