"""By what a file is known as one that vidtag wrote: an estimate is never the truth that it is measured against.

Other programs keep some of the marks and lose others, so any one is enough.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from lxml import etree

GPX_NAMESPACE = "tag:vidtag,2026:gpx/1"
GENERATOR = "vidtag "
SOURCE = "image-content estimate"
COMMENTS = ("estimate: 95% radius", "estimate: radius unknown")

RADIUS_NAMES = frozenset({"radius50_m", "radius95_m"})
"""Columns and properties that no receiver writes."""


def gpx_mark(root: etree._Element) -> str | None:
    """Return by what a GPX document is known as vidtag's: its creator, its namespace, its source or its comments."""
    if root.get("creator", "").startswith(GENERATOR):
        return f"its creator is {root.get('creator')!r}"
    for element in root.iter("{*}src", "{*}cmt", f"{{{GPX_NAMESPACE}}}*"):
        if str(element.tag).startswith(f"{{{GPX_NAMESPACE}}}"):
            return f"it has extensions of {GPX_NAMESPACE}"
        text = element.text or ""
        if text.endswith(SOURCE) or text.startswith(COMMENTS):
            return f"line {element.sourceline} says {text!r}"
    return None


def table_mark(names: Collection[str]) -> str | None:
    """Return by what the lower-case names of a table's columns or a feature's properties are known as vidtag's."""
    own = [name for name in names if name.removeprefix("vidtag_") in RADIUS_NAMES]
    return f"it has {', '.join(sorted(own))}" if own else None


def json_mark(document: dict[str, Any]) -> str | None:
    """Return by what the members of a JSON document are known as vidtag's."""
    if isinstance(document.get("vidtag"), dict):
        return "it has the member 'vidtag'"
    schema = document.get("schema")
    if isinstance(schema, str) and schema.startswith("vidtag"):
        return f"its schema is {schema!r}"
    is_summary = isinstance(document.get("estimates"), list) and "exit_code" in document
    return "it is what locate --json prints" if is_summary else None
