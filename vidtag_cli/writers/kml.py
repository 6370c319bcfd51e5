"""KML 2.2 with Google's ``gx`` extension: a track, one placemark per estimate, and the ring of its 95 % radius.

Nothing in the file names a web address to fetch: an icon on a server would tell its owner that the case file was
opened. Abstentions leave a gap between tracks; an empty ``gx:coord`` is permitted but makes readers draw lines to 0,
0.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from lxml import etree

from vidtag_cli.geo.antimeridian import split_line_at_antimeridian, split_ring_at_antimeridian
from vidtag_cli.geo.sphere import EARTH_RADIUS_KM, geodesic_circle
from vidtag_cli.track import Track, TrackPoint
from vidtag_cli.writers.answer import answer_lines, area_text, percent_text
from vidtag_cli.writers.names import html_text
from vidtag_cli.writers.values import (
    TrackPart,
    confidence_text,
    degree_text,
    generator_text,
    instant_text,
    media_time_text,
    radius_text,
    size_text,
    statements_of,
    track_parts,
    written_latlon,
)
from vidtag_cli.writers.xml_tree import append_text, document_bytes, root_element

KML_NAMESPACE = "http://www.opengis.net/kml/2.2"
GX_NAMESPACE = "http://www.google.com/kml/ext/2.2"

KML = f"{{{KML_NAMESPACE}}}"
GX = f"{{{GX_NAMESPACE}}}"

RING_VERTICES = 48
LARGEST_RING_KM = 0.99 * np.pi * EARTH_RADIUS_KM
"""Beyond it the whole Earth is meant and the ring would shrink to a point on the far side."""

POINT_SCHEMA, ARRAY_SCHEMA = "estimate", "track"

FIELDS: dict[str, tuple[str, Callable[[TrackPoint], str]]] = {
    "frame": ("int", lambda point: str(point.frame_index)),
    "media_time_s": ("double", lambda point: media_time_text(point.media_time_s)),
    "radius50_m": ("double", lambda point: "" if point.radius50_m is None else radius_text(point.radius50_m)),
    "radius95_m": ("double", lambda point: "" if point.radius95_m is None else radius_text(point.radius95_m)),
    "confidence": ("double", lambda point: "" if point.confidence is None else confidence_text(point.confidence)),
    "shot": ("int", lambda point: str(point.shot)),
}
"""Name of a value to its type and its text, which is empty where the value is unknown."""


@dataclass(frozen=True, slots=True)
class ConfidenceStyle:
    """A style and the lowest confidence it shows; ``colour_bgr`` is hexadecimal in KML's order blue, green, red."""

    name: str
    lowest_confidence: float
    colour_bgr: str


STYLES = (
    ConfidenceStyle("conf-high", 0.8, "327d2e"),
    ConfidenceStyle("conf-mid", 0.5, "25a8f9"),
    ConfidenceStyle("conf-low", 0.0, "2828c6"),
)


def render_kml(track: Track) -> bytes:
    """Return the KML document of a track that passed ``check_track``; it validates against ``kml22gx.xsd``."""
    root = root_element(f"{KML}kml", KML_NAMESPACE, {"gx": GX_NAMESPACE})
    document = etree.SubElement(root, f"{KML}Document")
    append_text(document, f"{KML}name", html_text(track.name))
    append_text(document, f"{KML}description", _description(track))
    _append_styles(document)
    _append_schema(document, POINT_SCHEMA, f"{KML}SimpleField")
    if track.time_basis.start_time_utc is not None:
        _append_schema(document, ARRAY_SCHEMA, f"{GX}SimpleArrayField")
    _append_answer(document, track)
    _append_path(document, track)
    _append_estimates(document, track)
    _append_radii(document, track)
    return document_bytes(root)


def _description(track: Track) -> str:
    # Viewers show a description as HTML, so a model or note could otherwise bring its own markup.
    lines = (*answer_lines(track), *statements_of(track), f"Written by {generator_text()}")
    return "<br/>\n".join(html.escape(line) for line in lines)


def _append_path(document: etree._Element, track: Track) -> None:
    """Append the lines that join estimates, if any are joined; one that stands alone is a point among the others."""
    if track.time_basis.start_time_utc is not None:
        parts = [part for part in track_parts(track) if part.is_line]
        if parts:
            _append_multi_track(_new_path(document), track, parts)
        return
    lines = [line for run in track.runs() for line in split_line_at_antimeridian(written_latlon(run)) if len(line) > 1]
    if lines:
        _append_lines(_new_path(document), lines)


def _append_answer(document: etree._Element, track: Track) -> None:
    """Append the areas of the answer for the video, if there are any, each with its circle."""
    if track.answer is None or not track.answer.areas:
        return
    folder = etree.SubElement(document, f"{KML}Folder")
    append_text(folder, f"{KML}name", "Answer")
    append_text(folder, f"{KML}description", "<br/>\n".join(html.escape(line) for line in answer_lines(track)))
    for area in track.answer.areas:
        placemark = etree.SubElement(folder, f"{KML}Placemark")
        append_text(placemark, f"{KML}name", f"{percent_text(area.share)} {area.place}")
        append_text(placemark, f"{KML}description", html.escape(area_text(area)))
        append_text(placemark, f"{KML}styleUrl", _style_url(area.share))
        geometry = etree.SubElement(placemark, f"{KML}MultiGeometry")
        point = etree.SubElement(geometry, f"{KML}Point")
        append_text(point, f"{KML}coordinates", f"{degree_text(area.lon_deg)},{degree_text(area.lat_deg)},0")
        _append_circle(geometry, (area.lat_deg, area.lon_deg), area.radius95_m)


def _new_path(document: etree._Element) -> etree._Element:
    placemark = etree.SubElement(document, f"{KML}Placemark")
    append_text(placemark, f"{KML}name", "Track")
    return placemark


def _append_lines(placemark: etree._Element, lines_latlon_deg: Sequence[np.ndarray]) -> None:
    geometry = etree.SubElement(placemark, f"{KML}MultiGeometry")
    for line_latlon_deg in lines_latlon_deg:
        line = etree.SubElement(geometry, f"{KML}LineString")
        append_text(line, f"{KML}tessellate", "1")
        text = " ".join(f"{degree_text(lon)},{degree_text(lat)},0" for lat, lon in line_latlon_deg)
        append_text(line, f"{KML}coordinates", text)


def _append_estimates(document: etree._Element, track: Track) -> None:
    folder = etree.SubElement(document, f"{KML}Folder")
    append_text(folder, f"{KML}name", "Estimates")
    located = track.located()
    for point, (lat_deg, lon_deg) in zip(located, written_latlon(located), strict=True):
        placemark = etree.SubElement(folder, f"{KML}Placemark")
        append_text(placemark, f"{KML}name", f"frame {point.frame_index}")
        instant = track.time_utc(point)
        if instant is not None:
            stamp = etree.SubElement(placemark, f"{KML}TimeStamp")
            append_text(stamp, f"{KML}when", instant_text(instant))
        append_text(placemark, f"{KML}styleUrl", _style_url(point.confidence))
        _append_data(placemark, point)
        geometry = etree.SubElement(placemark, f"{KML}Point")
        append_text(geometry, f"{KML}coordinates", f"{degree_text(lon_deg)},{degree_text(lat_deg)},0")


def _append_data(placemark: etree._Element, point: TrackPoint) -> None:
    extended = etree.SubElement(placemark, f"{KML}ExtendedData")
    data = etree.SubElement(extended, f"{KML}SchemaData", schemaUrl=f"#{POINT_SCHEMA}")
    for name, (_, value_text) in FIELDS.items():
        if text := value_text(point):
            append_text(data, f"{KML}SimpleData", text).set("name", name)


def _append_radii(document: etree._Element, track: Track) -> None:
    folder = etree.SubElement(document, f"{KML}Folder")
    append_text(folder, f"{KML}name", "95% radius")
    for point in track.located():
        _append_ring(folder, track, point)


def _append_schema(document: etree._Element, schema_id: str, field_tag: str) -> None:
    """Append the types of the values of a placemark, or of the arrays of a track."""
    schema = etree.SubElement(document, f"{KML}Schema", name=schema_id, id=schema_id)
    for name, (kind, _) in FIELDS.items():
        etree.SubElement(schema, field_tag, name=name, type=kind)


def _append_multi_track(placemark: etree._Element, track: Track, parts: Sequence[TrackPart]) -> None:
    """Append one ``gx:Track`` per part; gaps are not interpolated. The track must have absolute times."""
    multi_track = etree.SubElement(placemark, f"{GX}MultiTrack")
    append_text(multi_track, f"{KML}altitudeMode", "clampToGround")
    append_text(multi_track, f"{GX}interpolate", "0")
    for part in parts:
        _append_track(multi_track, track, part)


def _append_track(multi_track: etree._Element, track: Track, part: TrackPart) -> None:
    element = etree.SubElement(multi_track, f"{GX}Track")
    append_text(element, f"{KML}altitudeMode", "clampToGround")
    # The schema wants every time before the first position.
    for point in part.points:
        instant = track.time_utc(point)
        if instant is None:
            raise ValueError("a gx:Track needs absolute times")
        append_text(element, f"{KML}when", instant_text(instant))
    for lat_deg, lon_deg in part.latlon_deg:
        append_text(element, f"{GX}coord", f"{degree_text(lon_deg)} {degree_text(lat_deg)} 0")
    extended = etree.SubElement(element, f"{KML}ExtendedData")
    data = etree.SubElement(extended, f"{KML}SchemaData", schemaUrl=f"#{ARRAY_SCHEMA}")
    for name, (_, value_text) in FIELDS.items():
        array = etree.SubElement(data, f"{GX}SimpleArrayData", name=name)
        for point in part.points:
            append_text(array, f"{GX}value", value_text(point))


def _append_ring(folder: etree._Element, track: Track, point: TrackPoint) -> None:
    """Append the placemark of a located point's 95 % radius; without a radius, or with the whole Earth, there is
    none.
    """
    if not point.radius95_m or point.radius95_m / 1000.0 >= LARGEST_RING_KM:
        return
    placemark = etree.SubElement(folder, f"{KML}Placemark")
    append_text(placemark, f"{KML}name", f"frame {point.frame_index}: 95% radius {size_text(point.radius95_m)}")
    instant = track.time_utc(point)
    if instant is not None:
        append_text(etree.SubElement(placemark, f"{KML}TimeStamp"), f"{KML}when", instant_text(instant))
    append_text(placemark, f"{KML}styleUrl", _style_url(point.confidence))
    geometry = etree.SubElement(placemark, f"{KML}MultiGeometry")
    centre_lat_deg, centre_lon_deg = written_latlon([point])[0].tolist()
    _append_circle(geometry, (centre_lat_deg, centre_lon_deg), point.radius95_m)


def _append_circle(geometry: etree._Element, centre_latlon_deg: tuple[float, float], radius_m: float) -> None:
    """Append the ring around a position, if it is no point and not the whole Earth."""
    if not 0.0 < radius_m / 1000.0 < LARGEST_RING_KM:
        return
    for ring_latlon_deg in split_ring_at_antimeridian(
        geodesic_circle(centre_latlon_deg, radius_m / 1000.0, RING_VERTICES)
    ):
        _append_polygon(geometry, ring_latlon_deg)


def _append_polygon(geometry: etree._Element, ring_latlon_deg: np.ndarray) -> None:
    polygon = etree.SubElement(geometry, f"{KML}Polygon")
    append_text(polygon, f"{KML}tessellate", "1")
    boundary = etree.SubElement(etree.SubElement(polygon, f"{KML}outerBoundaryIs"), f"{KML}LinearRing")
    text = " ".join(f"{degree_text(lon)},{degree_text(lat)},0" for lat, lon in ring_latlon_deg)
    append_text(boundary, f"{KML}coordinates", text)


def _append_styles(document: etree._Element) -> None:
    """Append the shared styles; no icon is named, so a viewer draws its own pin and fetches nothing."""
    for style in STYLES:
        element = etree.SubElement(document, f"{KML}Style", id=style.name)
        icon = etree.SubElement(element, f"{KML}IconStyle")
        append_text(icon, f"{KML}color", f"ff{style.colour_bgr}")
        append_text(icon, f"{KML}scale", "0.7")
        label = etree.SubElement(element, f"{KML}LabelStyle")
        append_text(label, f"{KML}scale", "0")
        line = etree.SubElement(element, f"{KML}LineStyle")
        append_text(line, f"{KML}color", f"ff{style.colour_bgr}")
        append_text(line, f"{KML}width", "2")
        polygon = etree.SubElement(element, f"{KML}PolyStyle")
        append_text(polygon, f"{KML}color", f"33{style.colour_bgr}")


def _style_url(confidence: float | None) -> str:
    """Return the reference to the style of a confidence; an unknown confidence counts as low."""
    known = 0.0 if confidence is None else confidence
    return "#" + next(style.name for style in STYLES if known >= style.lowest_confidence)
