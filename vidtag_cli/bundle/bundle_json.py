"""``bundle.json`` on disk: reading it strictly, and writing it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from vidtag_cli.bundle.contract import BUNDLE_JSON, SCHEMA, BundleContract, check_contract
from vidtag_cli.bundle.strict_json import decode, encode, read_json_object
from vidtag_cli.errors import ModelError


def read_bundle_json(bundle_dir: Path) -> BundleContract:
    """Return the contract of a bundle; no other file is looked at.

    Raises ModelError for a foreign schema version, an unknown or missing key (named by its path) or fields that
    contradict each other.
    """
    path = bundle_dir / BUNDLE_JSON
    if not path.is_file():
        raise ModelError(f"{bundle_dir}: no model bundle: it has no {BUNDLE_JSON}")
    found = read_json_object(path)
    schema = found.get("schema")
    if schema != SCHEMA:
        raise ModelError(f"{path}: schema: this program reads {SCHEMA!r}, found {schema!r}; install a matching version")
    try:
        contract = decode(BundleContract, found)
        check_contract(contract)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return contract


def write_bundle_json(bundle_dir: Path, contract: BundleContract) -> Path:
    """Return the path of the ``bundle.json`` written into ``bundle_dir``; an earlier one is replaced in one step.

    Raises ModelError when the contract contradicts itself, so that no bundle is written that cannot be read.
    """
    check_contract(contract)
    path = bundle_dir / BUNDLE_JSON
    text = json.dumps(encode(contract), indent=2, allow_nan=False) + "\n"
    temporary = path.with_name(f".{BUNDLE_JSON}.{os.getpid()}")
    try:
        temporary.write_text(text, "utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
