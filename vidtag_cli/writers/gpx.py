"""GPX 1.1: one segment per unbroken run of estimates, isolated ones as waypoints, uncertainty in flat extensions of an
own namespace.

No ``hdop``: it is a ratio of satellite geometry, and a false quality figure of a GNSS fix is worse than none. No
``time`` without a basis, no ``fix``, no bounds, no schema location that a reader would fetch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from lxml import etree

from vidtag_cli.track import Track, TrackPoint
from vidtag_cli.writers.answer import answer_lines
from vidtag_cli.writers.names import legal_text
from vidtag_cli.writers.values import (
    TrackPart,
    confidence_text,
    degree_text,
    generator_text,
    instant_text,
    media_time_text,
    radius_text,
    size_text,
    source_text,
    statements_of,
    time_basis_text,
    track_parts,
)
from vidtag_cli.writers.xml_tree import append_text, document_bytes, root_element

GPX_NAMESPACE = "http://www.topografix.com/GPX/1/1"
VIDTAG_NAMESPACE = "tag:vidtag,2026:gpx/1"
"""Never changes: files written years ago are found by it. Its schema is ``data/schemas/vidtag-gpx-1.xsd``."""

GPX = f"{{{GPX_NAMESPACE}}}"
VIDTAG = f"{{{VIDTAG_NAMESPACE}}}"


def render_gpx(track: Track) -> bytes:
    """Return the GPX 1.1 document of a track that passed ``check_track``.

    An estimate alone between abstentions, cuts or beyond 180 is a waypoint: a segment of one point is a line that many
    readers refuse. Without any segment there is no ``trk``, and the metadata say how the positions were made.
    """
    root = root_element(f"{GPX}gpx", GPX_NAMESPACE, {"vidtag": VIDTAG_NAMESPACE})
    root.set("version", "1.1")
    root.set("creator", generator_text())
    metadata = etree.SubElement(root, f"{GPX}metadata")
    append_text(metadata, f"{GPX}name", legal_text(track.name))
    append_text(metadata, f"{GPX}desc", "\n".join((*answer_lines(track), *statements_of(track))))
    parts = track_parts(track)
    lines = [part for part in parts if part.is_line]
    if not lines:
        _append_method(metadata, track)
    for part in parts:
        if not part.is_line:
            _append_waypoint(root, track, part)
    if lines:
        _append_trk(root, track, lines)
    return document_bytes(root)


def _append_trk(root: etree._Element, track: Track, lines: Sequence[TrackPart]) -> None:
    trk = etree.SubElement(root, f"{GPX}trk")
    append_text(trk, f"{GPX}name", legal_text(track.name))
    append_text(trk, f"{GPX}desc", "\n".join((*answer_lines(track), *statements_of(track))))
    append_text(trk, f"{GPX}src", source_text())
    _append_method(trk, track)
    for part in lines:
        _append_segment(trk, track, part)


def _append_method(parent: etree._Element, track: Track) -> None:
    extensions = etree.SubElement(parent, f"{GPX}extensions")
    append_text(extensions, f"{VIDTAG}model", legal_text(track.model_name))
    append_text(extensions, f"{VIDTAG}smoothing", legal_text(track.smoothing))
    append_text(extensions, f"{VIDTAG}time_basis", time_basis_text(track))
    if track.answer is not None:
        append_text(extensions, f"{VIDTAG}answer", "\n".join(answer_lines(track)))


def _append_waypoint(root: etree._Element, track: Track, part: TrackPart) -> None:
    (point,) = part.points
    _append_point(root, "wpt", track, point, part.latlon_deg[0], name=f"frame {point.frame_index}")


def _append_segment(trk: etree._Element, track: Track, part: TrackPart) -> None:
    segment = etree.SubElement(trk, f"{GPX}trkseg")
    for point, latlon_deg in zip(part.points, part.latlon_deg, strict=True):
        _append_point(segment, "trkpt", track, point, latlon_deg)


def _append_point(
    parent: etree._Element, tag: str, track: Track, point: TrackPoint, latlon_deg: np.ndarray, name: str | None = None
) -> None:
    lat_deg, lon_deg = latlon_deg.tolist()
    element = etree.SubElement(parent, f"{GPX}{tag}", lat=degree_text(lat_deg), lon=degree_text(lon_deg))
    instant = track.time_utc(point)
    if instant is not None:
        append_text(element, f"{GPX}time", instant_text(instant))
    if name is not None:
        append_text(element, f"{GPX}name", name)
    append_text(element, f"{GPX}cmt", _comment(point))
    _append_estimate(element, point)


def _comment(point: TrackPoint) -> str:
    if point.radius95_m is None:
        return "estimate: radius unknown"
    return f"estimate: 95% radius {size_text(point.radius95_m)}"


def _append_estimate(element: etree._Element, point: TrackPoint) -> None:
    # Flat children become typed columns in GDAL and QGIS; one nested element becomes a string of raw XML.
    extensions = etree.SubElement(element, f"{GPX}extensions")
    append_text(extensions, f"{VIDTAG}frame", str(point.frame_index))
    append_text(extensions, f"{VIDTAG}media_time_s", media_time_text(point.media_time_s))
    if point.radius50_m is not None:
        append_text(extensions, f"{VIDTAG}radius50_m", radius_text(point.radius50_m))
    if point.radius95_m is not None:
        append_text(extensions, f"{VIDTAG}radius95_m", radius_text(point.radius95_m))
    if point.confidence is not None:
        append_text(extensions, f"{VIDTAG}confidence", confidence_text(point.confidence))
    append_text(extensions, f"{VIDTAG}shot", str(point.shot))
