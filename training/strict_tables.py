"""Tables of TOML or JSON as frozen dataclasses: unknown keys refused, types exact."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal


def build_strictly(kind: Any, value: Any, where: str) -> Any:
    """Return ``value`` as ``kind``: a dataclass, a tuple, a union of them or a plain number or word.

    Raises ValueError that names ``where`` and the key for an unknown, missing or ill-typed one.
    """
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in typing.get_args(kind):
            return None
        options = [option for option in typing.get_args(kind) if option is not type(None)]
        matching = [option for option in options if (typing.get_origin(option) is tuple) == isinstance(value, list)]
        return build_strictly((matching or options)[0], value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where}: a list is wanted, not {value!r}")
        items = typing.get_args(kind)
        if items[-1] is not Ellipsis and len(value) != len(items):
            raise ValueError(f"{where}: {len(items)} entries are wanted, not {len(value)}")
        item = items[0]
        return tuple(build_strictly(item, entry, f"{where}[{index}]") for index, entry in enumerate(value))
    if origin is Literal:
        if value not in typing.get_args(kind):
            raise ValueError(f"{where}: one of {', '.join(typing.get_args(kind))} is wanted, not {value!r}")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{where}: {kind.__name__} is wanted, not {value!r}")
    return value


def _build_dataclass(kind: Any, table: Any, where: str) -> Any:
    if not isinstance(table, dict):
        raise ValueError(f"{where}: a table is wanted, not {table!r}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(table) - set(fields))
    if unknown:
        raise ValueError(f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(fields)}")
    hints = typing.get_type_hints(kind)
    required = [name for name, field in fields.items() if field.default is dataclasses.MISSING]
    missing = [name for name in required if name not in table]
    if missing:
        raise ValueError(f"{where}: missing key {', '.join(missing)}")
    return kind(**{name: build_strictly(hints[name], value, f"{where}: {name}") for name, value in table.items()})


def merge_tables(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return ``below`` with the keys of ``above`` put over it, table by table."""
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        merged[key] = merge_tables(lower, value) if isinstance(lower, dict) and isinstance(value, dict) else value
    return merged
