"""Strict reading of JSON and TOML into frozen dataclasses: every key known, every key present that has no default,
every type exact, every number finite and within its range.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union

MAX_JSON_BYTES = 16 * 1024 * 1024
"""A description is far smaller; a larger file is not one, and is not read into memory."""

MOST_SHOWN = 60
"""Characters of a wrong value that a message quotes."""

T = TypeVar("T")


class StrictValueError(ValueError):
    """A value is not what its place asks for. The message begins with the key by its path, as in
    ``graphs.tempgeo.sha256``, or with the file when that is no JSON object; callers turn it into an error of theirs.
    """


@dataclass(frozen=True, slots=True)
class Range:
    """The least and the greatest value of a number, both allowed: ``Annotated[int, Range(1, 4096)]``."""

    least: float
    most: float


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises StrictValueError when the file cannot be read, is not JSON, repeats a key or holds NaN or infinity.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise StrictValueError(f"{path}: larger than {MAX_JSON_BYTES} bytes, so not a description")
        value = json.loads(path.read_text("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except OSError as error:
        raise StrictValueError(f"{path}: cannot be read: {error.strerror}") from error
    except StrictValueError:
        raise
    except (ValueError, RecursionError) as error:
        raise StrictValueError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise StrictValueError(f"{path}: expected a JSON object, found {_kind(value)}")
    return value


def decode(expected: type[T], value: Any, key: str = "") -> T:
    """Return ``value``, as a JSON or TOML parser gives it, as an instance of the dataclass or plain type ``expected``.

    Understands str, bool, int, float (integers are accepted, NaN and infinity are not), Literal, unions,
    dict[str, X], list[X], tuple[X, ...], tuple[X, Y], dataclasses of these, and ``Annotated`` numbers with a
    :class:`Range`. Raises StrictValueError that names the key by its path.
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
    if origin is Annotated:
        return _in_range(_decode(arguments[0], value, key), arguments[1:], key)
    if origin is Literal:
        return _one_of(arguments, value, key)
    if origin in (Union, types.UnionType):
        return _decode_union(arguments, value, key)
    if origin is dict:
        pairs = _checked(dict, value, key).items()
        for name in value:
            _checked(str, name, key)
        return {name: _decode(arguments[1], item, _below(key, name)) for name, item in pairs}
    if origin is list or (origin is tuple and arguments[-1] is Ellipsis):
        return origin(_decode(arguments[0], item, f"{key}[{i}]") for i, item in enumerate(_checked(list, value, key)))
    if origin is tuple:
        return _decode_fixed_tuple(arguments, value, key)
    return _checked(expected, value, key)


def _decode_dataclass(expected: Any, value: Any, key: str) -> Any:
    table = _checked(dict, value, key or "the whole file")
    types_by_field = typing.get_type_hints(expected, include_extras=True)
    fields = dataclasses.fields(expected)
    known = [field.name for field in fields]
    required = [
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    missing = [_below(key, name) for name in required if name not in table]
    unknown = [_below(key, name) for name in table if name not in known]
    if missing:
        raise StrictValueError(f"{missing[0]}: the key is missing")
    if unknown:
        raise StrictValueError(f"{unknown[0]}: unknown key; expected {', '.join(known)}")
    present = [name for name in known if name in table]
    return expected(**{name: _decode(types_by_field[name], table[name], _below(key, name)) for name in present})


def _decode_union(choices: tuple[Any, ...], value: Any, key: str) -> Any:
    if value is None and type(None) in choices:
        return None
    choices = tuple(choice for choice in choices if choice is not type(None))
    problems = []
    # The choice that has the shape of the value is tried first: it is the one whose problem helps.
    for choice in sorted(choices, key=lambda choice: _json_shape(choice) is not type(value)):
        try:
            return _decode(choice, value, key)
        except StrictValueError as error:
            problems.append(error)
    raise problems[0]


def _decode_fixed_tuple(expected: tuple[Any, ...], value: Any, key: str) -> tuple[Any, ...]:
    items = _checked(list, value, key)
    if len(items) != len(expected):
        raise StrictValueError(f"{key}: expected {len(expected)} entries, found {len(items)}")
    pairs = zip(expected, items, strict=True)
    return tuple(_decode(choice, item, f"{key}[{i}]") for i, (choice, item) in enumerate(pairs))


def _one_of(choices: tuple[Any, ...], value: Any, key: str) -> Any:
    if any(type(value) is type(choice) and value == choice for choice in choices):
        return value
    raise StrictValueError(f"{key}: expected one of {', '.join(map(repr, choices))}, found {_shown(value)}")


def _in_range(value: Any, annotations: Sequence[Any], key: str) -> Any:
    for limits in annotations:
        if isinstance(limits, Range) and not limits.least <= value <= limits.most:
            span = f"from {limits.least:g} to {limits.most:g}"
            raise StrictValueError(f"{key}: expected a number {span}, found {_shown(value)}")
    return value


def _checked(expected: Any, value: Any, key: str) -> Any:
    if expected is float and type(value) in (int, float):
        # An integer beyond float's range becomes infinite or raises; neither is a number to compute with.
        if abs(value) > 1e300 or not math.isfinite(value):
            raise StrictValueError(f"{key}: {_shown(value)} is not a finite number")
        return float(value)
    if type(value) is not expected:  # bool is an int to isinstance
        raise StrictValueError(f"{key}: expected {_KINDS[expected]}, found {_kind(value)}")
    if expected is str and not _is_text(value):
        raise StrictValueError(f"{key}: {_shown(value)} is not Unicode text")
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


def _json_shape(expected: Any) -> Any:
    """Return the type that a parser gives for a value of an expected type."""
    origin = typing.get_origin(expected)
    if dataclasses.is_dataclass(expected) or origin is dict:
        return dict
    if origin in (list, tuple):
        return list
    return typing.get_args(expected)[0] if origin is Annotated else expected


def _shown(value: Any) -> str:
    """Return a value as a message quotes it: cut short, and never failing on an integer of any length."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**MOST_SHOWN:
        return f"an integer of about {value.bit_length() * 3 // 10} digits"
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _is_text(value: str) -> bool:
    """Return whether a string can be written: JSON's escapes can spell lone surrogates, which are no characters."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _below(key: str, name: str) -> str:
    name = name if len(name) <= MOST_SHOWN else f"{name[:MOST_SHOWN]}..."
    return f"{key}.{name}" if key else name


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, value in pairs:
        if name in table:
            raise ValueError(f"the key {name!r} is given twice")
        table[name] = value
    return table


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")
