"""Writing a gallery: all of its files, block by block, into a folder that appears under its name when complete."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vidtag_cli import __version__
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.errors import ModelError, OutputError
from vidtag_cli.files import replace_folder
from vidtag_cli.gallery.store import (
    ALIASES_FILE,
    CELL_AREA_FILE,
    COORDINATES_FILE,
    EMBEDDINGS_FILE,
    GALLERY_JSON,
    SCHEMA,
    FileRecord,
    Gallery,
    GalleryContract,
    GalleryOrigin,
    first_odd_row,
    open_gallery,
)
from vidtag_cli.geo.antimeridian import bounding_box


def save_gallery(
    path: str | Path,
    latlon_deg: np.ndarray,
    embedding_blocks: Iterable[np.ndarray],
    origin: GalleryOrigin,
    cell_area_km2: float | np.ndarray,
    alias_of: np.ndarray | None = None,
    force: bool = False,
) -> Gallery:
    """Write a gallery under a temporary name, move it to ``path`` when complete, and return it opened.

    ``embedding_blocks`` yields (n, E) blocks that together hold one row for each point and then one for each alias; a
    gallery larger than memory can be written. Raises OutputError when ``path`` exists and ``force`` is not given, or
    when ``path`` is something else than a gallery, whatever ``force`` says.
    """
    target = Path(os.path.realpath(path))
    check_gallery_target(target, force)
    aliases = np.zeros(0, dtype=np.int64) if alias_of is None else alias_of
    try:
        with replace_folder(target) as fresh:
            _write_files(fresh, latlon_deg, embedding_blocks, aliases, cell_area_km2, origin)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    return open_gallery(target, origin.location_encoder_sha256)


def check_gallery_target(path: str | Path, force: bool) -> None:
    """Raise OutputError unless a gallery may be written to ``path``; meant for the moment before hours of embedding."""
    target = Path(path)
    if not target.parent.is_dir():
        raise OutputError(f"{path}: the folder {target.parent} does not exist: create it first")
    if not target.exists():
        return
    if not (target / GALLERY_JSON).is_file():
        raise OutputError(f"{path}: exists and is not a gallery, so it is not replaced: choose another name")
    if not force:
        raise OutputError(f"{path}: exists already: choose another name, or replace it with --force")


def _write_files(
    folder: Path,
    latlon_deg: np.ndarray,
    embedding_blocks: Iterable[np.ndarray],
    alias_of: np.ndarray,
    cell_area_km2: float | np.ndarray,
    origin: GalleryOrigin,
) -> None:
    """Write all files of a gallery, the note last, so that a folder with a note is complete."""
    points, rows = len(latlon_deg), len(latlon_deg) + len(alias_of)
    if points == 0:
        raise ModelError("a gallery needs at least one point")
    np.save(folder / COORDINATES_FILE, np.ascontiguousarray(latlon_deg, dtype=np.float64), allow_pickle=False)
    width = _write_embeddings(folder / EMBEDDINGS_FILE, embedding_blocks, rows)
    if len(alias_of):
        np.save(folder / ALIASES_FILE, np.ascontiguousarray(alias_of, dtype=np.int64), allow_pickle=False)
    if isinstance(cell_area_km2, np.ndarray):
        np.save(folder / CELL_AREA_FILE, np.ascontiguousarray(cell_area_km2, dtype=np.float64), allow_pickle=False)
    contract = GalleryContract(
        schema=SCHEMA,
        created_with=f"vidtag {__version__}",
        origin=origin,
        points=points,
        rows=rows,
        width=width,
        cell_area_km2=None if isinstance(cell_area_km2, np.ndarray) else float(cell_area_km2),
        bounding_box_deg=bounding_box(latlon_deg),
        files={file.name: FileRecord(file.stat().st_size, sha256_of(file)) for file in sorted(folder.iterdir())},
    )
    note = json.dumps(dataclasses.asdict(contract), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / GALLERY_JSON).write_text(note + "\n", "utf-8")


def _write_embeddings(file: Path, blocks: Iterable[np.ndarray], rows: int) -> int:
    """Return the width E of the embeddings after streaming all blocks to the file."""
    width, written = 0, 0
    with file.open("xb") as stream:
        for block in blocks:
            if not written:
                width = block.shape[1]
                np.lib.format.write_array_header_1_0(
                    stream, {"descr": "<f2", "fortran_order": False, "shape": (rows, width)}
                )
            _check_block(block, width, written)
            stream.write(np.ascontiguousarray(block, dtype="<f2").tobytes())
            written += len(block)
    if written != rows:
        raise ModelError(f"the location encoder gave {written} embeddings for {rows} positions")
    return width


def _check_block(block: np.ndarray, width: int, first_row: int) -> None:
    if block.ndim != 2 or block.shape[1] != width:
        raise ModelError(f"the location encoder gave an embedding of shape {block.shape} after one of width {width}")
    odd = first_odd_row(block)
    if odd is not None:
        row, length = odd
        raise ModelError(
            f"the location encoder gave an embedding of length {length:g} for position {first_row + row}: "
            "embeddings must be unit vectors; check the model with 'vidtag models verify'"
        )
