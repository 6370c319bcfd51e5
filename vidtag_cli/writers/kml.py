"""KML 2.2 with Google's ``gx`` extension: a track, one placemark per estimate, and the ring of its 95 % radius.

Nothing in the file names a web address to fetch: an icon on a server would tell its owner that the case file was
opened. Abstentions leave a gap between tracks; an empty ``gx:coord`` is permitted but makes readers draw lines to 0,
0.
"""

from __future__ import annotations

import html

from lxml import etree

from vidtag_cli.geo.antimeridian import split_line_at_antimeridian
from vidtag_cli.track import Track, TrackPoint
from vidtag_cli.writers.coordinates import degree_text, track_parts, written_latlon
from vidtag_cli.writers.kml_namespace import GX_NAMESPACE, KML, KML_NAMESPACE
from vidtag_cli.writers.kml_ring import append_ring
from vidtag_cli.writers.kml_style import append_styles, style_url
from vidtag_cli.writers.kml_track import append_multi_track, append_schema
from vidtag_cli.writers.provenance import generator_text, statements_of
from vidtag_cli.writers.text import confidence_text, instant_text, legal_text, media_time_text, radius_text
from vidtag_cli.writers.xml_tree import append_text, document_bytes, root_element


def render_kml(track: Track) -> bytes:
    """Return the KML document of a track that passed ``check_track``; it validates against ``kml22gx.xsd``."""
    root = root_element(f"{KML}kml", KML_NAMESPACE, {"gx": GX_NAMESPACE})
    document = etree.SubElement(root, f"{KML}Document")
    append_text(document, f"{KML}name", legal_text(track.name))
    append_text(document, f"{KML}description", _description(track))
    append_styles(document)
    has_time = track.time_basis.start_time_utc is not None
    if has_time:
        append_schema(document)
    if track.located():
        _append_path(document, track, has_time)
    _append_estimates(document, track)
    _append_radii(document, track)
    return document_bytes(root)


def _description(track: Track) -> str:
    # Viewers show a description as HTML, so a model or note could otherwise bring its own markup.
    lines = (*statements_of(track), f"Written by {generator_text()}")
    return "<br/>\n".join(html.escape(line) for line in lines)


def _append_path(document: etree._Element, track: Track, has_time: bool) -> None:
    placemark = etree.SubElement(document, f"{KML}Placemark")
    append_text(placemark, f"{KML}name", "Track")
    if has_time:
        append_multi_track(placemark, track, track_parts(track))
    else:
        _append_lines(placemark, track)


def _append_lines(placemark: etree._Element, track: Track) -> None:
    """Append the lines of a track without times; an estimate alone between abstentions has no line."""
    geometry = etree.SubElement(placemark, f"{KML}MultiGeometry")
    for run in track.runs():
        for part_latlon_deg in split_line_at_antimeridian(written_latlon(run)):
            if len(part_latlon_deg) < 2:
                continue
            line = etree.SubElement(geometry, f"{KML}LineString")
            append_text(line, f"{KML}tessellate", "1")
            text = " ".join(f"{degree_text(lon)},{degree_text(lat)},0" for lat, lon in part_latlon_deg)
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
        append_text(placemark, f"{KML}styleUrl", style_url(point.confidence))
        _append_data(placemark, point)
        geometry = etree.SubElement(placemark, f"{KML}Point")
        append_text(geometry, f"{KML}coordinates", f"{degree_text(lon_deg)},{degree_text(lat_deg)},0")


def _append_data(placemark: etree._Element, point: TrackPoint) -> None:
    extended = etree.SubElement(placemark, f"{KML}ExtendedData")
    values = {"frame": str(point.frame_index), "media_time_s": media_time_text(point.media_time_s)}
    if point.radius50_m is not None:
        values["radius50_m"] = radius_text(point.radius50_m)
    if point.radius95_m is not None:
        values["radius95_m"] = radius_text(point.radius95_m)
    if point.confidence is not None:
        values["confidence"] = confidence_text(point.confidence)
    values["shot"] = str(point.shot)
    for name, value in values.items():
        append_text(etree.SubElement(extended, f"{KML}Data", name=name), f"{KML}value", value)


def _append_radii(document: etree._Element, track: Track) -> None:
    folder = etree.SubElement(document, f"{KML}Folder")
    append_text(folder, f"{KML}name", "95% radius")
    for point in track.located():
        append_ring(folder, track, point)
