"""Three shared KML styles, one per level of confidence."""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from vidtag_cli.writers.kml_namespace import KML
from vidtag_cli.writers.xml_tree import append_text


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


def append_styles(document: etree._Element) -> None:
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


def style_url(confidence: float | None) -> str:
    """Return the reference to the style of a confidence; an unknown confidence counts as low."""
    known = 0.0 if confidence is None else confidence
    return "#" + next(style.name for style in STYLES if known >= style.lowest_confidence)
