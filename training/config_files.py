"""Configurations in files: presets and TOML files read strictly, and the JSON that a run keeps."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

from training.config import TrainingConfig
from vidtag_cli.errors import InputError, UsageError
from vidtag_cli.strict_values import StrictValueError, decode

PRESET_FOLDER = Path(__file__).parent / "presets"


def load_config(name_or_path: str) -> TrainingConfig:
    """Return the configuration of a preset's name or a TOML file.

    A file may say ``base = "NAME"``: it then holds only what differs from that preset. Raises UsageError for a name
    that is neither, InputError for a file that cannot be read or has unknown, missing or ill-typed keys.
    """
    path = PRESET_FOLDER / f"{name_or_path}.toml"
    if not path.is_file():
        path = Path(name_or_path)
    if not path.is_file():
        raise UsageError(f"{name_or_path}: neither a TOML file nor a preset; presets are {', '.join(preset_names())}")
    table = read_toml(path)
    base = table.pop("base", None)
    if base is not None:
        table = merge_tables(_base_table(base, path), table)
    return _build(table, str(path))


def preset_names() -> list[str]:
    """Return the names of the presets in order."""
    return sorted(preset.stem for preset in PRESET_FOLDER.glob("*.toml"))


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; raises InputError when it cannot be read or is not TOML."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path}: not TOML: {error}") from error


def config_from_json(text: str, where: str) -> TrainingConfig:
    """Return what :func:`config_json` wrote, also by an earlier version that lacked some keys with defaults.

    Raises InputError for another text.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {error}") from error
    return _build(document, where)


def _build(table: Any, where: str) -> TrainingConfig:
    try:
        return decode(TrainingConfig, table)
    except StrictValueError as error:
        raise InputError(f"{where}: {error}") from error


def merge_tables(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return ``below`` with the keys of ``above`` put over it, table by table."""
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        merged[key] = merge_tables(lower, value) if isinstance(lower, dict) and isinstance(value, dict) else value
    return merged


def config_json(config: TrainingConfig) -> str:
    """Return the resolved configuration as JSON, to be kept beside a checkpoint."""
    return json.dumps(dataclasses.asdict(config), indent=2)


def _base_table(base: Any, path: Path) -> dict[str, Any]:
    if base not in preset_names():
        raise InputError(f"{path}: base {base!r} is not a preset; presets are {', '.join(preset_names())}")
    table = read_toml(PRESET_FOLDER / f"{base}.toml")
    if "base" in table:
        raise InputError(f"{path}: its base {base} has a base itself; name {table['base']}")
    return table
