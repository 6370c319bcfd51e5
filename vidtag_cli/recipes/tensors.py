"""Tensors of published files, read without running anything in them: safetensors, and torch's archives.

A torch archive describes its tensors in a pickle stream. It is never unpickled: the few operations that plain tensors
need are followed one by one, every other is refused by name.
"""

from __future__ import annotations

import json
import math
import pickletools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidtag_cli.errors import ModelError

Tensors = Mapping[str, np.ndarray]

MAX_HEADER_BYTES = 100_000_000
"""What the format's own library allows."""

_SAFETENSORS_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I8": "<i1", "U8": "<u1"}

MAX_PICKLE_BYTES = 16_000_000
MAX_STORED_BYTES = 4_000_000_000
"""Of all storages of a torch archive together, unpacked."""

_STORAGES = {"DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8"}
_REBUILD, _ORDERED_DICT = ("torch._utils", "_rebuild_tensor_v2"), ("collections", "OrderedDict")
_DAMAGE = (
    ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError, RecursionError, zipfile.BadZipFile,
)  # fmt: skip
"""What a description with a changed byte may lead to, before any of its numbers is looked at."""

_LONE_TENSOR = "tensor"
"""The name given to the tensor of a file that holds nothing else."""


def read_tensors(path: Path) -> Tensors:
    """Return the tensors of a file by name; of safetensors they are mapped and not read.

    Raises ModelError for a file that is neither safetensors nor a torch archive of plain tensors.
    """
    try:
        if zipfile.is_zipfile(path):
            return _read_archive(path)
        return _read_safetensors(path)
    except (*_DAMAGE, OSError) as error:
        raise ModelError(f"{path.name}: no file of plain tensors: {error}") from error


def _read_safetensors(path: Path) -> Tensors:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise ValueError(f"a header of {length} bytes in a file of {size}")
        header = json.loads(file.read(length).decode("utf-8"))
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    header.pop("__metadata__", None)
    data = np.memmap(path, np.uint8, "r", offset=8 + length) if size > 8 + length else np.zeros(0, np.uint8)
    tensors, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = (int(offset) for offset in entry["data_offsets"])
        shape = tuple(int(length) for length in entry["shape"])
        if entry["dtype"] not in _SAFETENSORS_DTYPES:
            raise ValueError(f"{name}: numbers of type {entry['dtype']!r} are not read")
        dtype = np.dtype(_SAFETENSORS_DTYPES[entry["dtype"]])
        if begin != end or min(shape, default=0) < 0 or stop - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{name}: {begin} to {stop} is not where a tensor {shape} of {dtype} lies")
        tensors[name] = data[begin:stop].view(dtype).reshape(shape)
        end = stop
    if end != len(data):
        raise ValueError(f"its tensors end at {end}, the file {len(data) - end} bytes later")
    return tensors


@dataclass(frozen=True, slots=True)
class _Storage:
    dtype: str
    key: str
    numbers: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _read_archive(path: Path) -> Tensors:
    with zipfile.ZipFile(path) as archive:
        (pickle,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        root = pickle.removesuffix("data.pkl")
        order = [name for name in archive.namelist() if name == f"{root}byteorder"]
        if order and archive.read(order[0]) != b"little":
            raise ValueError("its numbers are not stored with the lowest byte first")
        if archive.getinfo(pickle).file_size > MAX_PICKLE_BYTES:
            raise ValueError(f"{pickle} is longer than {MAX_PICKLE_BYTES} bytes")
        described = follow_pickle(archive.read(pickle))
        if isinstance(described, _Tensor):
            described = {_LONE_TENSOR: described}
        if not isinstance(described, dict) or not all(isinstance(value, _Tensor) for value in described.values()):
            raise ValueError("it holds something else than tensors by name")
        storages = {tensor.storage for tensor in described.values()}
        if sum(archive.getinfo(f"{root}data/{storage.key}").file_size for storage in storages) > MAX_STORED_BYTES:
            raise ValueError(f"its tensors take more than {MAX_STORED_BYTES} bytes")
        numbers = {
            storage: np.frombuffer(archive.read(f"{root}data/{storage.key}"), storage.dtype) for storage in storages
        }
    return {str(name): _view(tensor, numbers[tensor.storage]) for name, tensor in described.items()}


def _view(tensor: _Tensor, numbers: np.ndarray) -> np.ndarray:
    """Return a tensor of its storage; raises ValueError where it would reach beyond."""
    if len(numbers) != tensor.storage.numbers:
        raise ValueError(f"storage {tensor.storage.key}: {len(numbers)} numbers, {tensor.storage.numbers} promised")
    if len(tensor.shape) != len(tensor.strides) or min(*tensor.shape, *tensor.strides, tensor.offset, 0) < 0:
        raise ValueError(f"shape {tensor.shape} with strides {tensor.strides}")
    if 0 in tensor.shape:
        return np.zeros(tensor.shape, numbers.dtype)
    last = tensor.offset + sum((length - 1) * step for length, step in zip(tensor.shape, tensor.strides, strict=True))
    if last >= len(numbers):
        raise ValueError(f"a tensor that ends at {last} in a storage of {len(numbers)} numbers")
    steps = [step * numbers.itemsize for step in tensor.strides]
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, steps, writeable=False)


class _Mark:
    """Where the items of a tuple or dictionary begin on the stack."""


_PLAIN = frozenset({
    "BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINFLOAT",
})  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def follow_pickle(content: bytes) -> Any:
    """Return what a pickle stream of plain tensors describes: a tensor, or a dictionary of them.

    Raises ValueError for any operation, and any name, that such a stream does not need.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for opcode, argument, _ in pickletools.genops(content):
        name = opcode.name
        if name in ("PROTO", "FRAME"):
            continue
        if name == "STOP":
            (result,) = stack
            return result
        if name in _PLAIN:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else int(argument or 0)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument or 0)])
        else:
            _follow(name, argument, stack)
    raise ValueError("the description ends in the middle")


def _follow(name: str, argument: Any, stack: list[Any]) -> None:
    """Follow one operation that takes from the stack."""
    if name == "MARK":
        stack.append(_Mark())
    elif name == "EMPTY_DICT":
        stack.append({})
    elif name in _TUPLES:
        count = _TUPLES[name]
        items = tuple(stack[len(stack) - count :])
        del stack[len(stack) - count :]
        stack.append(items)
    elif name == "TUPLE":
        stack.append(tuple(_since_mark(stack)))
    elif name == "SETITEM":
        value, key = stack.pop(), stack.pop()
        stack[-1][key] = value
    elif name == "SETITEMS":
        pairs = _since_mark(stack)
        stack[-1].update(zip(pairs[::2], pairs[1::2], strict=True))
    elif name == "GLOBAL":
        stack.append(_known_name(*argument.split(" ")))
    elif name == "STACK_GLOBAL":
        inner, module = stack.pop(), stack.pop()
        stack.append(_known_name(module, inner))
    elif name == "BINPERSID":
        stack.append(_storage(stack.pop()))
    elif name == "REDUCE":
        arguments, function = stack.pop(), stack.pop()
        stack.append(_called(function, arguments))
    elif name == "BUILD" and isinstance(stack[-2], dict):
        stack.pop()  # the attributes of an ordered dictionary, which say nothing of its tensors
    else:
        raise ValueError(f"the operation {name}, which no plain tensor needs")


def _since_mark(stack: list[Any]) -> list[Any]:
    begin = max(number for number, item in enumerate(stack) if isinstance(item, _Mark))
    items = stack[begin + 1 :]
    del stack[begin:]
    return items


def _known_name(module: str, name: str) -> tuple[str, str]:
    if (module, name) in (_REBUILD, _ORDERED_DICT) or (module == "torch" and name in _STORAGES):
        return module, name
    raise ValueError(f"the name {module}.{name}, which no plain tensor needs")


def _storage(persistent: Any) -> _Storage:
    kind, (module, storage), key, _, numbers = persistent
    if kind != "storage" or module != "torch" or not str(key).isalnum():
        raise ValueError(f"a storage {persistent!r}")
    return _Storage(_STORAGES[storage], str(key), int(numbers))


def _called(function: tuple[str, str], arguments: Any) -> Any:
    if function == _ORDERED_DICT and arguments == ():
        return {}
    if function != _REBUILD:
        raise ValueError(f"a call of {'.'.join(function)}")
    storage, offset, shape, strides, *_ = arguments
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor without a storage")
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))
