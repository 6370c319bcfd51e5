"""The evidence record of a run as JSON: one file beside the output, written last."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

REPORT_SCHEMA = "vidtag-report/1"
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def render_report(report: Mapping[str, Any]) -> bytes:
    """Return a report for people and programs: indented, keys in the order given, UTF-8.

    Raises ValueError unless the report names its schema and holds only finite numbers.
    """
    if report.get("schema") != REPORT_SCHEMA:
        raise ValueError(f"a report must begin with the schema {REPORT_SCHEMA!r}, not {report.get('schema')!r}")
    text = json.dumps(_encodable(report), ensure_ascii=False, allow_nan=False, indent=2)
    return f"{text}\n".encode()


def canonical_json(value: object) -> bytes:
    """Return the one spelling of a JSON value that hashes are taken of: sorted keys, no spaces, UTF-8, finite
    numbers.
    """
    text = json.dumps(_encodable(value), ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text.encode()


def _encodable(value: Any) -> Any:
    """Return the value with U+FFFD for every undecodable byte of a name; the report gives the bytes themselves beside
    it.
    """
    if isinstance(value, str):
        return LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {_encodable(key): _encodable(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(member) for member in value]
    return value
