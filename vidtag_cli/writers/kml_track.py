"""``gx:MultiTrack``: the timed track of a KML document, with arrays of the values beside the positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lxml import etree

from vidtag_cli.track import Track, TrackPoint
from vidtag_cli.writers.coordinates import TrackPart, degree_text
from vidtag_cli.writers.kml_namespace import GX, KML
from vidtag_cli.writers.text import confidence_text, instant_text, media_time_text, radius_text
from vidtag_cli.writers.xml_tree import append_text

SCHEMA_ID = "estimate"

FIELDS: dict[str, tuple[str, Callable[[TrackPoint], str]]] = {
    "frame": ("int", lambda point: str(point.frame_index)),
    "media_time_s": ("double", lambda point: media_time_text(point.media_time_s)),
    "radius50_m": ("double", lambda point: "" if point.radius50_m is None else radius_text(point.radius50_m)),
    "radius95_m": ("double", lambda point: "" if point.radius95_m is None else radius_text(point.radius95_m)),
    "confidence": ("double", lambda point: "" if point.confidence is None else confidence_text(point.confidence)),
    "shot": ("int", lambda point: str(point.shot)),
}
"""Array name to its type and the text of one value."""


def append_schema(document: etree._Element) -> None:
    """Append the declaration of the arrays that every track carries."""
    schema = etree.SubElement(document, f"{KML}Schema", name=SCHEMA_ID, id=SCHEMA_ID)
    for name, (kind, _) in FIELDS.items():
        etree.SubElement(schema, f"{GX}SimpleArrayField", name=name, type=kind)


def append_multi_track(placemark: etree._Element, track: Track, parts: Sequence[TrackPart]) -> None:
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
    data = etree.SubElement(extended, f"{KML}SchemaData", schemaUrl=f"#{SCHEMA_ID}")
    for name, (_, value_text) in FIELDS.items():
        array = etree.SubElement(data, f"{GX}SimpleArrayData", name=name)
        for point in part.points:
            append_text(array, f"{GX}value", value_text(point))
