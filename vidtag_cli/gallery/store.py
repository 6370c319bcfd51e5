"""A gallery on disk: points of the globe with their embeddings, and the note that says how they were made
(docs/method.md 4.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from vidtag_cli.bundle.array_files import ArrayShape, map_array
from vidtag_cli.bundle.bundle_json import read_description
from vidtag_cli.bundle.contract import Width
from vidtag_cli.bundle.integrity import inside_path, sha256_of
from vidtag_cli.errors import ModelError
from vidtag_cli.strict_values import Range

SCHEMA: Literal["vidtag-gallery/1"] = "vidtag-gallery/1"

GALLERY_JSON = "gallery.json"
COORDINATES_FILE = "coordinates.npy"
EMBEDDINGS_FILE = "embeddings.npy"
ALIASES_FILE = "alias_of.npy"
CELL_AREA_FILE = "cell_area_km2.npy"

MOST_POINTS = 1_000_000_000

CELL_AREA_KM2 = Range(1e-9, 5.2e8)
"""From a thousandth of a square metre to the whole Earth."""

Latitude = Annotated[float, Range(-90.0, 90.0)]
Longitude = Annotated[float, Range(-180.0, 180.0)]

UNIT_LENGTH_TOLERANCE = 0.01
"""Embeddings are unit vectors; rounding to float16 moves their length by far less than this."""

KNOWN_FILES = frozenset({COORDINATES_FILE, EMBEDDINGS_FILE, ALIASES_FILE, CELL_AREA_FILE})


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size and SHA-256 of one file of the gallery."""

    bytes: Annotated[int, Range(0, 1 << 50)]
    sha256: str


@dataclass(frozen=True, slots=True)
class GalleryOrigin:
    """How a gallery came about: its points in words, their spacing (None when irregular), the model that embedded
    them.
    """

    source: str
    spacing_km: Annotated[float, Range(1e-6, 20_100.0)] | None
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
    points: Annotated[int, Range(1, MOST_POINTS)]
    rows: Annotated[int, Range(1, 2 * MOST_POINTS)]
    width: Width
    cell_area_km2: Annotated[float, CELL_AREA_KM2] | None
    bounding_box_deg: tuple[Longitude, Latitude, Longitude, Latitude]
    files: dict[str, FileRecord]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Gallery:
    """The places a search can answer with.

    ``latlon_deg`` is (G, 2) float64 and ``embeddings`` (R, E) float16, both memory-mapped. The first G rows of
    ``embeddings`` belong to the points in order; row G + i is point ``alias_of[i]`` seen from the other side of the
    antimeridian (``alias_of`` rises strictly). ``cell_area_km2`` is the area a point stands for: one number or (G,)
    float64.
    """

    path: Path
    latlon_deg: np.ndarray
    embeddings: np.ndarray
    alias_of: np.ndarray
    cell_area_km2: float | np.ndarray
    contract: GalleryContract

    @property
    def points(self) -> int:
        return self.contract.points

    @property
    def width(self) -> int:
        return self.contract.width

    def log_cell_area(self) -> np.ndarray:
        """Return (G,) float64 natural logarithms of the area, in km2, each point stands for (a view when all are
        equal).
        """
        return np.broadcast_to(np.log(np.asarray(self.cell_area_km2, dtype=np.float64)), (self.points,))


def open_gallery(path: str | Path, location_encoder_sha256: str, verify: bool = False) -> Gallery:
    """Return a gallery made with the location encoder whose file has this SHA-256.

    Sizes and the coordinates' range are always checked, hashes of all files only with ``verify``. Raises ModelError for
    anything that is missing, damaged, of an unknown version, or embedded with another encoder.
    """
    folder = Path(path)
    contract = read_gallery_json(folder)
    made_with = contract.origin.location_encoder_sha256
    if made_with != location_encoder_sha256:
        raise ModelError(
            f"{folder}: embedded with the location encoder of {contract.origin.model_name!r} ({made_with[:12]}...), "
            f"not with this model's ({location_encoder_sha256[:12]}...): build a gallery for this model with "
            "'vidtag gallery build'"
        )
    _check_files(folder, contract, verify)
    gallery = _load(folder, contract)
    _check_contents(gallery)
    return gallery


def read_gallery_json(folder: Path) -> GalleryContract:
    """Return what a gallery's note says; raises ModelError when the folder is no gallery of a known version."""
    note = folder / GALLERY_JSON
    if not note.is_file():
        raise ModelError(f"{folder}: not a gallery: there is no {GALLERY_JSON} in it")
    return read_description(note, GalleryContract, SCHEMA)


def _check_files(folder: Path, contract: GalleryContract, verify: bool) -> None:
    for name, record in contract.files.items():
        if name not in KNOWN_FILES:
            raise ModelError(f"{folder / GALLERY_JSON}: lists {name!r}, which is no file of a gallery")
        file = inside_path(folder, name)
        if not file.is_file():
            raise ModelError(f"{folder}: {name} is missing: copy the gallery again or rebuild it")
        try:
            size_bytes, sha256 = file.stat().st_size, sha256_of(file) if verify else record.sha256
        except OSError as error:  # also when it is removed in this moment
            raise ModelError(f"{folder}: {name} cannot be read: {error.strerror or error}: rebuild it") from error
        if size_bytes != record.bytes:
            raise ModelError(f"{folder}: {name} has {size_bytes} bytes instead of {record.bytes}: rebuild it")
        if sha256 != record.sha256:
            raise ModelError(f"{folder}: {name} is not the file that was written (SHA-256 differs): rebuild it")
    missing = {COORDINATES_FILE, EMBEDDINGS_FILE} - contract.files.keys()
    if missing:
        raise ModelError(f"{folder / GALLERY_JSON}: does not list {', '.join(sorted(missing))}")


def _load(folder: Path, contract: GalleryContract) -> Gallery:
    points, rows, files = contract.points, contract.rows, contract.files
    latlon_deg = _map_array(folder, COORDINATES_FILE, (points, 2), "float64")
    embeddings = _map_array(folder, EMBEDDINGS_FILE, (rows, contract.width), "float16")
    alias_of = np.zeros(0, dtype=np.int64)
    if rows != points or ALIASES_FILE in files:
        alias_of = np.array(_map_array(folder, ALIASES_FILE, (rows - points,), "int64"))
    cell_area_km2: float | np.ndarray | None = contract.cell_area_km2
    if cell_area_km2 is None:
        cell_area_km2 = np.array(_map_array(folder, CELL_AREA_FILE, (points,), "float64"))
    return Gallery(folder, latlon_deg, embeddings, alias_of, cell_area_km2, contract)


def _map_array(folder: Path, name: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    try:
        return map_array(inside_path(folder, name), ArrayShape(dtype, shape))
    except ModelError as error:
        raise ModelError(f"{error}; {GALLERY_JSON} promises {dtype} {shape}: build the gallery again") from error


def _check_contents(gallery: Gallery) -> None:
    lat, lon = gallery.latlon_deg[:, 0], gallery.latlon_deg[:, 1]
    if not ((np.abs(lat) <= 90.0).all() and (lon >= -180.0).all() and (lon < 180.0).all()):
        raise ModelError(f"{gallery.path}: a position is outside latitude [-90, 90], longitude [-180, 180)")
    alias_of = gallery.alias_of
    if alias_of.size and not (alias_of[0] >= 0 and alias_of[-1] < gallery.points and (np.diff(alias_of) > 0).all()):
        raise ModelError(f"{gallery.path}: {ALIASES_FILE} does not name points in rising order")
    check_areas(gallery.path, gallery.cell_area_km2)


def first_odd_row(embeddings: np.ndarray) -> tuple[int, float] | None:
    """Return the index and the length of the first of some embeddings (n, E) that is no unit vector: one with NaN,
    infinity or zeros alone, for instance. None when all are.
    """
    rows = embeddings.astype(np.float32, copy=False)
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.sqrt(np.einsum("ne,ne->n", rows, rows))
    odd = np.flatnonzero(~(np.abs(length - 1.0) <= UNIT_LENGTH_TOLERANCE))  # also true for NaN
    return (int(odd[0]), float(length[odd[0]])) if odd.size else None


def check_areas(path: str | Path, cell_area_km2: float | np.ndarray) -> None:
    """Raise ModelError, naming the gallery, unless every area that a point stands for is one that exists on Earth."""
    area = np.asarray(cell_area_km2)
    if not ((area >= CELL_AREA_KM2.least) & (area <= CELL_AREA_KM2.most)).all():
        raise ModelError(f"{path}: an area is not between {CELL_AREA_KM2.least:g} and {CELL_AREA_KM2.most:g} km2")
