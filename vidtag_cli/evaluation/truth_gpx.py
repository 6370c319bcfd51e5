"""Fixes from GPX 1.0 and 1.1: the points of all tracks, in the order of the file."""

from __future__ import annotations

from pathlib import Path

from lxml import etree

from vidtag_cli.errors import InputError
from vidtag_cli.evaluation.fix import Clock, Fix, checked_fix, number, unix_time_s

VIDTAG_MEDIA_TIME = "{tag:vidtag,2026:gpx/1}media_time_s"


def read_gpx_fixes(path: Path) -> tuple[Clock, list[Fix]]:
    """Return the clock and the fixes: media time where every point carries vidtag's extension, else the points' UTC
    times.
    """
    points = list(_parsed(path).iter("{*}trkpt"))
    if points and all(point.find(f".//{VIDTAG_MEDIA_TIME}") is not None for point in points):
        return "media_time", [_fix(path, point, f".//{VIDTAG_MEDIA_TIME}", "media_time") for point in points]
    return "utc", [_fix(path, point, "{*}time", "utc") for point in points]


def _parsed(path: Path) -> etree._Element:
    # A truth file may come from anyone: no entities, no DTD, no network, libxml2's size limits stay on.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        with path.open("rb") as stream:
            tree = etree.parse(stream, parser)
    except etree.XMLSyntaxError as error:
        raise InputError(f"{path}: line {error.lineno}: not well-formed XML: {error.msg}") from error
    if tree.docinfo.doctype:  # type: ignore[union-attr]  # lxml-stubs 0.5 does not know it
        raise InputError(f"{path}: has a document type declaration, which no GPX file needs: remove it")
    root = tree.getroot()
    if etree.QName(root).localname != "gpx":
        raise InputError(f"{path}: the root element is {etree.QName(root).localname!r}, not 'gpx'")
    return root


def _fix(path: Path, point: etree._Element, time_path: str, clock: Clock) -> Fix:
    where = f"line {point.sourceline}"
    text = point.findtext(time_path)
    if not text:
        raise InputError(f"{path}: {where}: the track point has no time: a truth needs one for every point")
    instant = unix_time_s(path, where, text) if clock == "utc" else number(path, where, "media time", text)
    return checked_fix(path, where, instant, point.get("lat", ""), point.get("lon", ""))
