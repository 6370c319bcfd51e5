"""The few moves on an XML tree that GPX and KML share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lxml import etree


def root_element(tag: str, default_namespace: str, prefixes: Mapping[str, str]) -> etree._Element:
    """Return a new root whose names without a prefix belong to the default namespace."""
    namespaces: Any = {None: default_namespace, **prefixes}  # lxml-stubs 0.5 does not know the key None
    return etree.Element(tag, nsmap=namespaces)


def append_text(parent: etree._Element, tag: str, text: str) -> etree._Element:
    """Return a new last child that holds the text."""
    child = etree.SubElement(parent, tag)
    child.text = text
    return child


def document_bytes(root: etree._Element) -> bytes:
    """Return the document with its XML declaration, indented, in UTF-8; equal trees give equal bytes."""
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True)
