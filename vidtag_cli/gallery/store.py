"""A gallery on disk: points of the globe with their embeddings, and the note that says how they were made (SPEC
4.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from vidtag_cli.bundle.bundle_json import read_description
from vidtag_cli.bundle.integrity import inside_path, sha256_of
from vidtag_cli.errors import ModelError

SCHEMA: Literal["vidtag-gallery/1"] = "vidtag-gallery/1"

GALLERY_JSON = "gallery.json"
COORDINATES_FILE = "coordinates.npy"
EMBEDDINGS_FILE = "embeddings.npy"
ALIASES_FILE = "alias_of.npy"
CELL_AREA_FILE = "cell_area_km2.npy"

KNOWN_FILES = frozenset({COORDINATES_FILE, EMBEDDINGS_FILE, ALIASES_FILE, CELL_AREA_FILE})


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
        if file.stat().st_size != record.bytes:
            raise ModelError(f"{folder}: {name} has {file.stat().st_size} bytes instead of {record.bytes}: rebuild it")
        if verify and sha256_of(file) != record.sha256:
            raise ModelError(f"{folder}: {name} is not the file that was written (SHA-256 differs): rebuild it")
    missing = {COORDINATES_FILE, EMBEDDINGS_FILE} - contract.files.keys()
    if missing:
        raise ModelError(f"{folder / GALLERY_JSON}: does not list {', '.join(sorted(missing))}")


def _load(folder: Path, contract: GalleryContract) -> Gallery:
    points, rows, files = contract.points, contract.rows, contract.files
    latlon_deg = _map_array(folder, COORDINATES_FILE, (points, 2), np.dtype(np.float64))
    embeddings = _map_array(folder, EMBEDDINGS_FILE, (rows, contract.width), np.dtype(np.float16))
    alias_of = np.zeros(0, dtype=np.int64)
    if rows != points or ALIASES_FILE in files:
        alias_of = np.array(_map_array(folder, ALIASES_FILE, (rows - points,), np.dtype(np.int64)))
    cell_area_km2: float | np.ndarray | None = contract.cell_area_km2
    if cell_area_km2 is None:
        cell_area_km2 = np.array(_map_array(folder, CELL_AREA_FILE, (points,), np.dtype(np.float64)))
    return Gallery(folder, latlon_deg, embeddings, alias_of, cell_area_km2, contract)


def _map_array(folder: Path, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    try:
        array = np.load(inside_path(folder, name), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ModelError(f"{folder}: {name} cannot be read: {error}") from error
    if array.shape != shape or array.dtype != dtype:
        raise ModelError(
            f"{folder}: {name} holds {array.dtype} {array.shape}, {GALLERY_JSON} promises {dtype} {shape}: rebuild it"
        )
    return array


def _check_contents(gallery: Gallery) -> None:
    lat, lon = gallery.latlon_deg[:, 0], gallery.latlon_deg[:, 1]
    if gallery.points < 1:
        raise ModelError(f"{gallery.path}: holds no point")
    if not ((np.abs(lat) <= 90.0).all() and (lon >= -180.0).all() and (lon < 180.0).all()):
        raise ModelError(f"{gallery.path}: a position is outside latitude [-90, 90], longitude [-180, 180)")
    alias_of = gallery.alias_of
    if alias_of.size and not (alias_of[0] >= 0 and alias_of[-1] < gallery.points and (np.diff(alias_of) > 0).all()):
        raise ModelError(f"{gallery.path}: {ALIASES_FILE} does not name points in rising order")
    area = np.asarray(gallery.cell_area_km2)
    if not (np.isfinite(area).all() and (area > 0.0).all()):
        raise ModelError(f"{gallery.path}: an area is not a positive number of km2")
