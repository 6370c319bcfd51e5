"""The two namespaces of a KML document and the prefixes of their tags."""

from __future__ import annotations

KML_NAMESPACE = "http://www.opengis.net/kml/2.2"
GX_NAMESPACE = "http://www.google.com/kml/ext/2.2"

KML = f"{{{KML_NAMESPACE}}}"
GX = f"{{{GX_NAMESPACE}}}"
