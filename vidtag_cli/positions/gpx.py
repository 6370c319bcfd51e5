"""Positions of GPX 1.0 and 1.1: track points, route points and waypoints, in the order of the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lxml import etree

from vidtag_cli.positions.contents import Contents
from vidtag_cli.positions.own_mark import gpx_mark
from vidtag_cli.positions.position import Fault, Kind, MalformedError, Position, checked_position

KINDS: dict[str, Kind] = {"wpt": "waypoint", "rtept": "route", "trkpt": "track"}

LAST_LINE = 65535
"""libxml2 counts no further."""


def read_gpx(content: bytes) -> Contents:
    """Return all points with their times; each track segment and each route is a segment, and so are the waypoints.

    Raises MalformedError with the line where there is one.
    """
    root = _parsed(content)
    return Contents("gpx", "utc", list(_positions(root)), gpx_mark(root))


def _parsed(content: bytes) -> etree._Element:
    # The file may come from anyone: no entities, no DTD, no network, libxml2's limits of depth and size stay on.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise MalformedError(f"line {error.lineno}: not well-formed XML: {error.msg}") from error
    if root.getroottree().docinfo.doctype:  # type: ignore[union-attr]  # lxml-stubs 0.5 does not know it
        raise MalformedError("has a document type declaration, which no GPX file needs: remove it")
    if etree.QName(root).localname != "gpx":
        raise MalformedError(f"the root element is {etree.QName(root).localname!r}, not 'gpx'")
    return root


def _positions(root: etree._Element) -> Iterator[Position]:
    segment, parent = -1, None
    for number, point in enumerate(root.iter(*(f"{{*}}{tag}" for tag in KINDS)), start=1):
        if point.getparent() is not parent:
            segment, parent = segment + 1, point.getparent()
        line: Any = point.sourceline  # its stub knows no number
        where = f"line {line}" if line < LAST_LINE else f"point {number}"
        is_fix = (point.findtext("{*}fix") or "").strip() != "none"
        time = (point.findtext("{*}time") or "").strip() or None
        kind = KINDS[etree.QName(point).localname]
        fault: Fault | None = None if is_fix else "no_fix"
        yield checked_position(where, point.get("lat"), point.get("lon"), time, segment, kind, fault)
