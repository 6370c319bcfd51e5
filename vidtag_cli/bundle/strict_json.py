"""Strict reading of JSON into frozen dataclasses: every key known, every key present that has no default, every type
exact.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from vidtag_cli.errors import ModelError

MAX_JSON_BYTES = 16 * 1024 * 1024
"""A description is far smaller; a larger file is not one, and is not read into memory."""

T = TypeVar("T")


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises ModelError when the file cannot be read, is not JSON, repeats a key or holds NaN or infinity.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ModelError(f"{path}: larger than {MAX_JSON_BYTES} bytes, so not a description of a model")
        value = json.loads(path.read_text("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path}: expected a JSON object, found {_kind(value)}")
    return value


def decode(expected: type[T], value: Any, key: str = "") -> T:
    """Return ``value``, a parsed JSON value, as an instance of the dataclass or plain type ``expected``.

    Understands str, bool, int, float (integers are accepted, NaN and infinity are not), Literal, ``X | None``,
    dict[str, X], list[X], tuple[X, ...] and dataclasses of these. Raises ModelError that names the key by its path, as
    in ``graphs.tempgeo.sha256``.
    """
    return typing.cast(T, _decode(expected, value, key))


def encode(value: Any) -> dict[str, Any]:
    """Return a dataclass as plain JSON values, in the order of its fields.

    A field that has its default is left out, so that a file without a newer field stays readable by older programs.
    """
    return typing.cast(dict[str, Any], _encode(value))


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return {field.name: _encode(content) for field, content in fields if content != field.default}
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_encode(item) for item in value)
    return value


def _decode(expected: Any, value: Any, key: str) -> Any:
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if dataclasses.is_dataclass(expected):
        return _decode_dataclass(expected, value, key)
    if origin is Literal:
        if value in arguments and isinstance(value, str):
            return value
        raise ModelError(f"{key}: expected one of {', '.join(map(repr, arguments))}, found {value!r}")
    if origin in (Union, types.UnionType):
        return _decode_union(arguments, value, key)
    if origin is dict:
        pairs = _checked(dict, value, key).items()
        return {name: _decode(arguments[1], item, _below(key, name)) for name, item in pairs}
    if origin in (list, tuple):
        return origin(_decode(arguments[0], item, f"{key}[{i}]") for i, item in enumerate(_checked(list, value, key)))
    return _checked(expected, value, key)


def _decode_dataclass(expected: Any, value: Any, key: str) -> Any:
    found = _checked(dict, value, key or "the whole file")
    types_by_field = typing.get_type_hints(expected)
    fields = dataclasses.fields(expected)
    wanted = [field.name for field in fields]
    required = [field.name for field in fields if field.default is dataclasses.MISSING]
    missing = [_below(key, name) for name in required if name not in found]
    unknown = [_below(key, name) for name in found if name not in wanted]
    if missing:
        raise ModelError(f"{missing[0]}: the key is missing")
    if unknown:
        raise ModelError(f"{unknown[0]}: unknown key; expected {', '.join(wanted)}")
    given = [name for name in wanted if name in found]
    return expected(**{name: _decode(types_by_field[name], found[name], _below(key, name)) for name in given})


def _decode_union(choices: tuple[Any, ...], value: Any, key: str) -> Any:
    if value is None and type(None) in choices:
        return None
    problems = []
    for choice in choices:
        if choice is type(None):
            continue
        try:
            return _decode(choice, value, key)
        except ModelError as error:
            problems.append(error)
    raise problems[0]


def _checked(expected: Any, value: Any, key: str) -> Any:
    if expected is float and type(value) in (int, float):
        # An integer beyond float's range becomes infinite or raises; neither is a number to compute with.
        if abs(value) > 1e300 or not math.isfinite(value):
            raise ModelError(f"{key}: {value} is not a finite number")
        return float(value)
    if type(value) is not expected:  # bool is an int to isinstance
        raise ModelError(f"{key}: expected {_KINDS[expected]}, found {_kind(value)}")
    return value


_KINDS: dict[Any, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "an array",
    type(None): "null",
}


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), type(value).__name__)


def _below(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {name!r} is given twice")
        found[name] = value
    return found


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")
