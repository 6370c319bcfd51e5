"""The 95 % radius of an estimate as KML polygons: KML has no circle."""

from __future__ import annotations

import numpy as np
from lxml import etree

from vidtag_cli.geo.antimeridian import split_ring_at_antimeridian
from vidtag_cli.geo.sphere import EARTH_RADIUS_KM, geodesic_circle
from vidtag_cli.track import Track, TrackPoint
from vidtag_cli.writers.coordinates import degree_text, written_latlon
from vidtag_cli.writers.kml_namespace import KML
from vidtag_cli.writers.kml_style import style_url
from vidtag_cli.writers.text import instant_text, radius_text
from vidtag_cli.writers.xml_tree import append_text

RING_VERTICES = 48
LARGEST_RING_KM = 0.99 * np.pi * EARTH_RADIUS_KM
"""Beyond it the whole Earth is meant and the ring would shrink to a point on the far side."""


def append_ring(folder: etree._Element, track: Track, point: TrackPoint) -> None:
    """Append the placemark of a located point's 95 % radius; without a radius, or with the whole Earth, there is
    none.
    """
    if not point.radius95_m or point.radius95_m / 1000.0 >= LARGEST_RING_KM:
        return
    placemark = etree.SubElement(folder, f"{KML}Placemark")
    append_text(placemark, f"{KML}name", f"frame {point.frame_index}: 95% radius {radius_text(point.radius95_m)} m")
    instant = track.time_utc(point)
    if instant is not None:
        append_text(etree.SubElement(placemark, f"{KML}TimeStamp"), f"{KML}when", instant_text(instant))
    append_text(placemark, f"{KML}styleUrl", style_url(point.confidence))
    geometry = etree.SubElement(placemark, f"{KML}MultiGeometry")
    centre_lat_deg, centre_lon_deg = written_latlon([point])[0].tolist()
    circle = geodesic_circle((centre_lat_deg, centre_lon_deg), point.radius95_m / 1000.0, RING_VERTICES)
    for ring_latlon_deg in split_ring_at_antimeridian(circle):
        _append_polygon(geometry, ring_latlon_deg)


def _append_polygon(geometry: etree._Element, ring_latlon_deg: np.ndarray) -> None:
    polygon = etree.SubElement(geometry, f"{KML}Polygon")
    append_text(polygon, f"{KML}tessellate", "1")
    boundary = etree.SubElement(etree.SubElement(polygon, f"{KML}outerBoundaryIs"), f"{KML}LinearRing")
    text = " ".join(f"{degree_text(lon)},{degree_text(lat)},0" for lat, lon in ring_latlon_deg)
    append_text(boundary, f"{KML}coordinates", text)
