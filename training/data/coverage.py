"""Where on Earth a data set has frames: counts by cell, as GeoJSON and as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.data.sample import Sample
from vidtag_cli.errors import UsageError
from vidtag_cli.writers.atomic import atomic_write

CELL_DEG = 0.1
"""Eleven kilometres of latitude: a city is a handful of cells."""

_FIGURE_WH_INCHES = (12.0, 6.5)
_MARGIN_DEG = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Coverage:
    """Cells of ``cell_deg`` by their south-west corners (C, 2) in degrees, with frames (C,) and sequences (C,)."""

    cell_deg: float
    south_west_deg: np.ndarray
    frames: np.ndarray
    sequences: np.ndarray


def measure_coverage(samples: Sequence[Sample], cell_deg: float = CELL_DEG) -> Coverage:
    """Return the cells that hold at least one frame, from the south-west on."""
    rows = round(180.0 / cell_deg)
    if not 0.0 < cell_deg <= 180.0 or not np.isclose(rows * cell_deg, 180.0):
        raise UsageError(f"cells of {cell_deg} degrees do not divide a meridian: take 0.1, 0.25, 0.5, 1 ...")
    frames: dict[tuple[int, int], int] = {}
    sequences: dict[tuple[int, int], int] = {}
    for sample in samples:
        cells = np.floor((sample.latlon_deg + [90.0, 180.0]) / cell_deg).astype(np.int64)
        cells[:, 0] = cells[:, 0].clip(0, rows - 1)  # the north pole belongs to the last row
        filled, counts = np.unique(cells, axis=0, return_counts=True)
        for cell, count in zip(map(tuple, filled.tolist()), counts.tolist(), strict=True):
            frames[cell] = frames.get(cell, 0) + count
            sequences[cell] = sequences.get(cell, 0) + 1
    order = sorted(frames)
    corners = np.array(order, dtype=np.float64).reshape(-1, 2) * cell_deg - [90.0, 180.0]
    counts_of = [np.array([counts[cell] for cell in order], dtype=np.int64) for counts in (frames, sequences)]
    return Coverage(cell_deg, corners, *counts_of)


def write_coverage_geojson(coverage: Coverage, path: Path, force: bool = False) -> None:
    """Write one square a cell with the properties ``frames`` and ``sequences`` (RFC 7946)."""
    features = [
        _feature(south, west, coverage.cell_deg, int(frames), int(sequences))
        for (south, west), frames, sequences in zip(
            coverage.south_west_deg.tolist(), coverage.frames, coverage.sequences, strict=True
        )
    ]
    text = json.dumps({"type": "FeatureCollection", "features": features}, allow_nan=False)
    atomic_write(path, text.encode(), force=force)


def _feature(south: float, west: float, cell_deg: float, frames: int, sequences: int) -> dict[str, Any]:
    north, east = min(south + cell_deg, 90.0), min(west + cell_deg, 180.0)
    corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    ring = [[round(lon, 6), round(lat, 6)] for lon, lat in corners]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"frames": frames, "sequences": sequences},
    }


def draw_coverage(coverage: Coverage, path: Path, force: bool = False) -> None:
    """Write a PNG of the cells over the outlines of the land, coloured by frames. Needs matplotlib (extra ``plot``)."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.colors import LogNorm
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("a picture needs matplotlib: pip install matplotlib, or write GeoJSON instead") from error
    figure = Figure(figsize=_FIGURE_WH_INCHES, layout="constrained")
    axes = figure.add_subplot()
    south, north, west, east = _extent(coverage)
    land = _land(south, north, west, east)
    axes.imshow(land, extent=(west, east, south, north), cmap="Greys", vmin=0.0, vmax=4.0, aspect="auto")
    lat, lon = (coverage.south_west_deg + coverage.cell_deg / 2.0).T
    colours = LogNorm(1.0, max(int(coverage.frames.max(initial=1)), 10))
    dots = axes.scatter(lon, lat, c=coverage.frames, s=9.0, marker="s", norm=colours)
    figure.colorbar(dots, label=f"frames in {coverage.cell_deg:g}°")
    axes.set(xlim=(west, east), ylim=(south, north), xlabel="longitude", ylabel="latitude")
    atomic_write(path, FigureCanvasAgg(figure).print_png, force=force)


def _extent(coverage: Coverage) -> tuple[float, float, float, float]:
    if len(coverage.frames) == 0:
        return -90.0, 90.0, -180.0, 180.0
    low = coverage.south_west_deg.min(axis=0) - _MARGIN_DEG
    high = coverage.south_west_deg.max(axis=0) + coverage.cell_deg + _MARGIN_DEG
    return max(low[0], -90.0), min(high[0], 90.0), max(low[1], -180.0), min(high[1], 180.0)


def _land(south: float, north: float, west: float, east: float) -> np.ndarray:
    """Return an image (H, W), north at the top, 1.0 on land."""
    from vidtag_cli.geo.land import is_land

    lat, lon = np.linspace(north, south, 360), np.linspace(west, east, 720)
    grid = np.stack(np.meshgrid(lat, np.clip(lon, -180.0, 179.999), indexing="ij"), axis=-1)
    return np.asarray(is_land(grid.reshape(-1, 2)), dtype=np.float64).reshape(360, 720)
