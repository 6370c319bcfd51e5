"""``bundle.json`` on disk: reading it strictly, and writing it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from vidtag_cli.bundle.contract import BUNDLE_JSON, SCHEMA, BundleContract, check_contract
from vidtag_cli.errors import ModelError
from vidtag_cli.files import replace_file
from vidtag_cli.strict_values import StrictValueError, decode, encode, read_json_object

T = TypeVar("T")


def read_bundle_json(bundle_dir: Path) -> BundleContract:
    """Return the contract of a bundle; no other file is looked at.

    Raises ModelError for a foreign schema version, an unknown or missing key (named by its path) or fields that
    contradict each other.
    """
    path = bundle_dir / BUNDLE_JSON
    if not path.is_file():
        raise ModelError(f"{bundle_dir}: no model bundle: it has no {BUNDLE_JSON}")
    contract = read_description(path, BundleContract, SCHEMA)
    try:
        check_contract(contract)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return contract


def read_description(path: Path, expected: type[T], schema: str) -> T:
    """Return what a JSON file of a known schema says, as a dataclass; raises ModelError that names file and key."""
    try:
        fields = read_json_object(path)
    except StrictValueError as error:
        raise ModelError(str(error)) from error
    if fields.get("schema") != schema:
        raise ModelError(
            f"{path}: schema: this program reads {schema!r}, found {fields.get('schema')!r}; install a matching version"
        )
    try:
        return decode(expected, fields)
    except StrictValueError as error:
        raise ModelError(f"{path}: {error}") from error


def write_bundle_json(bundle_dir: Path, contract: BundleContract) -> Path:
    """Return the path of the ``bundle.json`` written into ``bundle_dir``; an earlier one is replaced in one step.

    Raises ModelError when the contract contradicts itself or a number is out of its range, so that no bundle is
    written that cannot be read.
    """
    path = bundle_dir / BUNDLE_JSON
    try:
        text = json.dumps(encode(contract), indent=2, allow_nan=False)
        check_contract(decode(BundleContract, json.loads(text)))
    except ValueError as error:
        raise ModelError(f"{path}: not written: {error}") from error
    replace_file(path, f"{text}\n".encode())
    return path
