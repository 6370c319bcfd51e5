"""What ``gallery.json`` says about a gallery, and the names of the files beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GALLERY_JSON = "gallery.json"
COORDINATES_FILE = "coordinates.npy"
EMBEDDINGS_FILE = "embeddings.npy"
ALIASES_FILE = "alias_of.npy"
CELL_AREA_FILE = "cell_area_km2.npy"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size and SHA-256 of one file of the gallery."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class GalleryOrigin:
    """How a gallery came about: its points in words, their spacing (None when irregular), the model that embedded
    them.
    """

    source: str
    spacing_km: float | None
    model_name: str
    location_encoder_sha256: str


@dataclass(frozen=True, slots=True)
class GalleryContract:
    """All of ``gallery.json``.

    ``points`` is G; ``rows`` counts the embeddings: G, and one more for every point near the antimeridian that is also
    embedded under its other longitude. ``cell_area_km2`` is the area a point stands for, or None when each has its own
    in ``cell_area_km2.npy``. ``bounding_box_deg`` is west, south, east, north; west is greater than east across 180.
    """

    schema: Literal["vidtag-gallery/1"]
    created_with: str
    origin: GalleryOrigin
    points: int
    rows: int
    width: int
    cell_area_km2: float | None
    bounding_box_deg: list[float]
    files: dict[str, FileRecord]
