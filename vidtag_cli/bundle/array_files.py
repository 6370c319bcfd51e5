"""Arrays in ``.npy`` and ``.npz`` files of strangers: what a file promises is checked before memory is given for it.

Nothing is ever unpickled. A file holds exactly the arrays it should, of the dtype and shape they should have, no byte
more or less; so no file can ask for more memory than its own size or what the caller expects.
"""

from __future__ import annotations

import ast
import io
import math
import typing
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from vidtag_cli.errors import ModelError

if typing.TYPE_CHECKING:
    import numpy as np

MAX_HEADER_BYTES = 4096
"""numpy writes 128; only dtypes with named fields need more, and none of ours has any."""

MOST_SHOWN = 160
"""Characters of a stranger's text that a message quotes."""


@dataclass(frozen=True, slots=True)
class ArrayShape:
    """The dtype (numpy's name) and shape an array must have; None in a shape stands for any length from 1 on."""

    dtype: str
    shape: tuple[int | None, ...]

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Return whether an array may have this shape."""
        return len(shape) == len(self.shape) and all(
            size == length if length is not None else size > 0 for size, length in zip(shape, self.shape, strict=True)
        )

    def spelled(self) -> str:
        lengths = ", ".join("any" if length is None else str(length) for length in self.shape)
        return f"{self.dtype} ({lengths})"


@dataclass(frozen=True, slots=True)
class _Header:
    """What a file says about its array; the content begins at the byte ``begin``."""

    shape: tuple[int, ...]
    order: Literal["C", "F"]
    begin: int


def map_array(path: Path, expected: ArrayShape) -> np.ndarray:
    """Return the array of a ``.npy`` file mapped into memory, read-only; raises ModelError unless it is as expected."""
    import numpy as np

    try:
        with path.open("rb") as file:
            header = _checked_header(file, path.stat().st_size, expected)
        return np.memmap(path, expected.dtype, "r", header.begin, header.shape, header.order)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: {_reason(error)}") from error


def read_array(path: Path, expected: ArrayShape) -> np.ndarray:
    """Return the array of a ``.npy`` file; raises ModelError unless it is as expected."""
    import numpy as np

    return np.array(map_array(path, expected))


def read_arrays(path: Path, expected: Mapping[str, ArrayShape]) -> dict[str, np.ndarray]:
    """Return the arrays of a ``.npz`` file by name; raises ModelError unless it holds these and they are as expected.

    Floats must be finite: such files hold what was measured.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if len(archive.infolist()) != len(expected) or members.keys() != {f"{name}.npy" for name in expected}:
                raise ValueError(f"expected the arrays {', '.join(expected)}")
            return {name: _read_member(archive, members[f"{name}.npy"], name, expected[name]) for name in expected}
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        # RuntimeError: a password is asked for; its subclass NotImplementedError: an unknown way of compression.
        raise ModelError(f"{path}: {_reason(error)}") from error


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, expected: ArrayShape) -> np.ndarray:
    import numpy as np

    if None in expected.shape:
        raise ValueError(f"{name}: only arrays of known shape are read from an archive")
    most_bytes = MAX_HEADER_BYTES + _content_bytes(expected.dtype, expected.shape)
    too_large = f"{name}: unpacks to more bytes than {expected.spelled()} takes"
    if info.file_size > most_bytes:
        raise ValueError(too_large)
    with archive.open(info) as member:
        content = member.read(most_bytes)
        if member.read(1):  # only at its end is a member compared with its CRC
            raise ValueError(too_large)
    try:
        header = _checked_header(io.BytesIO(content), len(content), expected)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    array = np.frombuffer(content, expected.dtype, offset=header.begin).reshape(header.shape, order=header.order)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name}: holds a value that is not a finite number")
    return array


def _content_bytes(dtype: str, shape: Iterable[int | None]) -> int:
    import numpy as np

    # Python's integers do not overflow, as those of numpy would.
    return math.prod(length or 0 for length in shape) * np.dtype(dtype).itemsize


def _checked_header(file: BinaryIO, file_bytes: int, expected: ArrayShape) -> _Header:
    """Return what a file says about its array; raises ValueError unless that is expected and fits the file's size."""
    import numpy as np

    fields, begin = _read_header(file)
    dtype, shape = fields.get("descr"), fields.get("shape")
    if not isinstance(shape, tuple) or any(type(length) is not int or length < 0 for length in shape):
        raise ValueError(f"its header gives no shape: {_shown(shape)}")
    # As text, "<f8": a dtype of a stranger is not even made.
    if dtype != np.dtype(expected.dtype).str or not expected.fits(shape):
        raise ValueError(f"expected {expected.spelled()}, found {_shown(dtype)} {_shown(shape)}")
    content_bytes = _content_bytes(expected.dtype, shape)
    if begin + content_bytes != file_bytes:
        raise ValueError(
            f"{expected.dtype} {_shown(shape)} takes {content_bytes} bytes, the file has {file_bytes - begin} for it: "
            "it was cut short or changed"
        )
    return _Header(shape, "F" if fields.get("fortran_order") is True else "C", begin)


def _read_header(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """Return the fields of a header and where the content begins, by the description of the format (NEP 1).

    numpy's own reader takes headers of Python 2 too, and meets hostile ones with errors of a dozen kinds.
    """
    start = file.read(8)
    if start[:6] != b"\x93NUMPY" or start[6:] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        raise ValueError("not an array as numpy saves it (.npy)")
    length = int.from_bytes(file.read(2 if start[6] == 1 else 4), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header claims {length} bytes, more than any array of ours needs")
    begin = file.tell() + length
    try:
        fields = ast.literal_eval(file.read(length).decode("ascii"))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"its header cannot be read: {_reason(error)}") from error
    if not isinstance(fields, dict):
        raise ValueError("its header cannot be read: it names nothing")
    return fields, begin


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return _shown(" ".join(str(error).split()) or type(error).__name__)
