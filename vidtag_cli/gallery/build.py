"""Making a gallery: duplicates merged, every point embedded, points near the antimeridian under both longitudes."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from vidtag_cli.bundle.folders import cache_dir
from vidtag_cli.errors import ModelError, OutputError
from vidtag_cli.files import exclusive_lock
from vidtag_cli.gallery.store import Gallery, GalleryOrigin, check_areas, open_gallery
from vidtag_cli.gallery.writing import check_gallery_target, save_gallery
from vidtag_cli.geo.grid import KM_PER_DEGREE
from vidtag_cli.geo.nearest import nearest_neighbour
from vidtag_cli.geo.sphere import wrap_longitude_deg

Embed = Callable[[np.ndarray], np.ndarray]
"""Maps (N, 2) float64 latitude, longitude in degrees to (N, E) float32 unit vectors; longitudes may run past 180."""

Progress = Callable[[int, int], None]
"""Told how many positions are done, and of how many."""

Say = Callable[[str], None]
"""Takes a line for people."""

ESTIMATE_AFTER_S = 3.0
"""What takes longer than this is told with the time that is left."""

SEAM_MARGIN_KM = 100.0
"""How near the antimeridian a point gets a second embedding: well past the distance at which two embeddings of
GeoCLIP's encoder have nothing to do with each other (cosine 0.48 at 25 km)."""

_logger = logging.getLogger(__name__)

DUPLICATE_STEP_DEG = 1e-6
"""Positions that agree to this step (0.1 m) are one point."""

SHARED_CELL_KM = 5.0
"""Points nearer than about this share one cell: a dense street must not outweigh the rest of the city."""

REGULAR_SPREAD = 1.25
"""Within a grid the distance to the nearest point hardly varies: its 90th percentile is at most this times its 10th."""

SPACING_SAMPLES = 500


def build_gallery(
    path: str | Path,
    latlon_deg: np.ndarray,
    embed: Embed,
    origin: GalleryOrigin,
    *,
    wraps: bool,
    cell_area_km2: float | np.ndarray | None = None,
    batch: int = 4096,
    progress: Progress | None = None,
    force: bool = False,
) -> Gallery:
    """Embed positions and save them as a gallery, which is returned opened.

    ``wraps`` says that the encoder gives one embedding at a longitude and a whole turn further (kind ``sphere``);
    otherwise (``equal_earth``) points within ``SEAM_MARGIN_KM`` of the antimeridian are embedded under both
    longitudes. Without ``cell_area_km2`` points evenly spaced stand for the square of their spacing, and others share
    out the cells they lie in. Raises OutputError when ``path`` is taken and ModelError when there is nothing to embed
    or the encoder misbehaves.
    """
    check_gallery_target(path, force)
    kept = first_of_duplicates(latlon_deg)
    points = canonical_latlon(np.asarray(latlon_deg, dtype=np.float64)[kept])
    if len(points) == 0:
        raise ModelError(f"{path}: there is no position to build a gallery from")
    if cell_area_km2 is None:
        spacing_km = regular_spacing_km(points)
        cell_area_km2 = shared_cell_area_km2(points) if spacing_km is None else spacing_km**2
    elif isinstance(cell_area_km2, np.ndarray):
        cell_area_km2 = cell_area_km2[kept]
    check_areas(path, cell_area_km2)
    alias_of = np.zeros(0, dtype=np.int64) if wraps else near_antimeridian(points)
    rows_latlon_deg = np.concatenate([points, other_longitude(points[alias_of])])
    blocks = embedding_blocks(rows_latlon_deg, embed, batch, progress)
    return save_gallery(path, points, blocks, origin, cell_area_km2, alias_of, force)


def cached_gallery(
    latlon_deg: np.ndarray,
    embed: Embed,
    origin: GalleryOrigin,
    *,
    wraps: bool,
    cell_area_km2: float | np.ndarray | None = None,
    published_sha256: str = "",
    progress: Progress | None = None,
    say: Say = _logger.warning,
) -> Gallery:
    """Return the gallery of a model's default coordinates from the cache, after building it there when it is missing.

    The cache is keyed by encoder, coordinates and, where ``embed`` looks them up, the hash of published embeddings, so
    a stale gallery is never returned; one whose files are not those that were written raises ModelError. Of several
    processes that miss the same gallery one builds it and the others wait. ``say`` hears in words what takes so long.
    """
    fingerprint = _fingerprint(latlon_deg, cell_area_km2, published_sha256)
    path = cache_dir() / "galleries" / f"{origin.location_encoder_sha256[:16]}-{fingerprint[:16]}"
    if not path.exists():
        with ExitStack() as held:
            _lock_cache(path, held, lambda line: say(f"{origin.model_name}: {line}"))
            if not path.exists():  # another process may have built it meanwhile
                return build_gallery(
                    path, latlon_deg, embed, origin, wraps=wraps, cell_area_km2=cell_area_km2,
                    progress=_first_use_progress(origin.model_name, len(latlon_deg), progress, say), force=True,
                )  # fmt: skip
    try:
        return open_gallery(path, origin.location_encoder_sha256, verify=True)
    except ModelError as error:
        raise ModelError(f"{error}; it lies in the cache: remove that folder, and it is made again") from error


def published_or_embedded(latlon_deg: np.ndarray, embedding: np.ndarray, embed: Embed) -> Embed:
    """Return an ``Embed`` that gives row n of ``embedding`` (G, E) for exactly the place n of ``latlon_deg`` (G, 2).

    Other positions, such as those that a gallery sees across the antimeridian, go to ``embed``.
    """
    row_of = {place: row for row, place in enumerate(map(tuple, latlon_deg.tolist()))}

    def looked_up(positions_deg: np.ndarray) -> np.ndarray:
        rows = np.array([row_of.get(place, -1) for place in map(tuple, positions_deg.tolist())], dtype=np.int64)
        embeddings = np.array(embedding[rows], dtype=np.float32)
        unknown = np.flatnonzero(rows < 0)
        if unknown.size:
            embeddings[unknown] = embed(positions_deg[unknown])
        return embeddings

    return looked_up


def embed_coordinates(
    latlon_deg: np.ndarray, embed: Embed, batch: int = 4096, progress: Progress | None = None
) -> np.ndarray:
    """Return (N, E) float32 embeddings of (N, 2) positions, computed ``batch`` at a time."""
    return np.concatenate(list(embedding_blocks(latlon_deg, embed, batch, progress)))


def embedding_blocks(
    latlon_deg: np.ndarray, embed: Embed, batch: int = 4096, progress: Progress | None = None
) -> Iterator[np.ndarray]:
    """Yield embeddings (n, E) of consecutive positions; raises ModelError when the encoder loses or adds rows."""
    for start in range(0, len(latlon_deg), batch):
        positions = np.ascontiguousarray(latlon_deg[start : start + batch], dtype=np.float64)
        block = embed(positions)
        if len(block) != len(positions):
            raise ModelError(f"the location encoder gave {len(block)} embeddings for {len(positions)} positions")
        yield block
        if progress is not None:
            progress(start + len(positions), len(latlon_deg))


def canonical_latlon(latlon_deg: np.ndarray) -> np.ndarray:
    """Return positions with longitudes in [-180, 180), and 0 at a pole, where longitude means nothing."""
    lon_deg = latlon_deg[:, 1]
    in_range = (lon_deg >= -180.0) & (lon_deg < 180.0)
    lon_deg = np.where(in_range, lon_deg, wrap_longitude_deg(lon_deg))  # wrapping rounds: only where it must
    at_pole = np.abs(latlon_deg[:, 0]) >= 90.0 - DUPLICATE_STEP_DEG / 2.0
    return np.stack([latlon_deg[:, 0], np.where(at_pole, 0.0, lon_deg)], axis=-1)


def first_of_duplicates(latlon_deg: np.ndarray) -> np.ndarray:
    """Return the rising indices of the first of each set of equal positions, compared on the sphere to 1e-6 degrees."""
    steps = np.round(canonical_latlon(np.asarray(latlon_deg, dtype=np.float64)) / DUPLICATE_STEP_DEG).astype(np.int64)
    half_turn = round(180.0 / DUPLICATE_STEP_DEG)
    steps[:, 1] = (steps[:, 1] + half_turn) % (2 * half_turn)  # 179.9999999 rounds up to -180
    keys = steps[:, 0] * (4 * half_turn) + steps[:, 1]
    return np.sort(np.unique(keys, return_index=True)[1])


def near_antimeridian(latlon_deg: np.ndarray, margin_km: float = SEAM_MARGIN_KM) -> np.ndarray:
    """Return the rising indices of positions within ``margin_km`` of longitude 180 along their parallel."""
    to_seam_km = (180.0 - np.abs(latlon_deg[:, 1])) * KM_PER_DEGREE * np.cos(np.deg2rad(latlon_deg[:, 0]))
    return np.flatnonzero(to_seam_km <= margin_km)


def other_longitude(latlon_deg: np.ndarray) -> np.ndarray:
    """Return the same places with longitudes a whole turn away, across the antimeridian: -179.9 becomes 180.1."""
    turn = np.where(latlon_deg[:, 1] < 0.0, 360.0, -360.0)
    return np.stack([latlon_deg[:, 0], latlon_deg[:, 1] + turn], axis=-1)


def regular_spacing_km(latlon_deg: np.ndarray) -> float | None:
    """Return the spacing of points (G, 2) that form an even grid, judged by a sample; None for irregular points."""
    step = max(2, len(latlon_deg) // SPACING_SAMPLES)
    is_sample = np.arange(len(latlon_deg)) % step == 0
    if is_sample.all() or not is_sample.any() or len(latlon_deg) < 3:
        return None
    distance_km, _ = nearest_neighbour(latlon_deg[is_sample], latlon_deg[~is_sample])
    low_km, middle_km, high_km = np.quantile(distance_km, [0.1, 0.5, 0.9])
    return float(middle_km) if high_km <= low_km * REGULAR_SPREAD else None


def shared_cell_area_km2(latlon_deg: np.ndarray, cell_km: float = SHARED_CELL_KM) -> np.ndarray:
    """Return (G,) float64 areas: the sphere in cells of ``cell_km`` squared, each shared equally by the points in it.

    The areas add up to the area of the occupied cells, so a posterior weighted by them does not grow where points are
    dense.
    """
    rows = np.floor((latlon_deg[:, 0] + 90.0) * KM_PER_DEGREE / cell_km).astype(np.int64)
    row_middle_deg = (rows + 0.5) * cell_km / KM_PER_DEGREE - 90.0
    row_length_km = 360.0 * KM_PER_DEGREE * np.maximum(np.cos(np.deg2rad(row_middle_deg.clip(-90.0, 90.0))), 0.0)
    cells_in_row = np.maximum(1, np.round(row_length_km / cell_km)).astype(np.int64)
    columns = np.floor((latlon_deg[:, 1] + 180.0) / 360.0 * cells_in_row).astype(np.int64) % cells_in_row
    _, cell, count = np.unique(rows * (1 << 32) + columns, return_inverse=True, return_counts=True)
    return cell_km**2 / count[cell]


def _lock_cache(path: Path, held: ExitStack, say: Say) -> None:
    """Make the folder that a gallery of the cache lies in, and keep others from building the gallery until ``held``
    ends.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path.parent}: the cache for the gallery cannot be made ({error.strerror}): set XDG_CACHE_HOME to a "
            "folder that can be written, or give a gallery with --gallery"
        ) from error
    lock = path.parent / f".{path.name}.lock"
    try:
        waiting = "another vidtag is embedding the places of this model: waiting for it"
        held.enter_context(exclusive_lock(lock, lambda: say(waiting)))
    except OSError as error:
        say(f"{lock}: cannot be locked ({error.strerror}): processes that start together each embed the places")


def _first_use_progress(model_name: str, places: int, progress: Progress | None, say: Say) -> Progress:
    """Say that places are being embedded, and return the progress that says once how long that will take."""
    say(f"{model_name}: embedding its {places:,} places, which is done once and kept in the cache")
    started_s = time.monotonic()
    is_told = False

    def show(done: int, total: int) -> None:
        nonlocal is_told
        elapsed_s = time.monotonic() - started_s
        if not is_told and elapsed_s >= ESTIMATE_AFTER_S:
            is_told = True
            say(f"{model_name}: about {elapsed_s * (total - done) / done:.0f} s left")
        if progress is not None:
            progress(done, total)

    return show


def _fingerprint(latlon_deg: np.ndarray, cell_area_km2: float | np.ndarray | None, published_sha256: str) -> str:
    areas = np.zeros(0) if cell_area_km2 is None else np.atleast_1d(np.asarray(cell_area_km2, dtype=np.float64))
    digest = hashlib.sha256(np.ascontiguousarray(latlon_deg, dtype="<f8").tobytes())
    digest.update(areas.astype("<f8").tobytes())
    digest.update(published_sha256.encode())
    return digest.hexdigest()
