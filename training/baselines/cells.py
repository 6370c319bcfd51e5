"""S2 cells as classes: the Earth cut by where the training positions lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import s2cell

from vidtag_cli.geo.sphere import centroid_latlon

FINEST_LEVEL = 30
OUTSIDE = -1
"""The class of a position in no cell."""


@dataclass(frozen=True, slots=True)
class CellPartition:
    """Cells (K,) uint64, disjoint and in rising order, and the positions (K, 2) in degrees that stand for them."""

    cell_ids: np.ndarray
    centres_latlon_deg: np.ndarray

    def __len__(self) -> int:
        return len(self.cell_ids)

    def classes_of(self, latlon_deg: np.ndarray) -> np.ndarray:
        """Return the (N,) int64 class of each position (N, 2), or ``OUTSIDE``."""
        leaves = leaf_cells(latlon_deg)
        first, last = _leaf_ranges(self.cell_ids)
        place = np.searchsorted(first, leaves, side="right").astype(np.int64) - 1
        inside = (place >= 0) & (leaves <= last[place.clip(0)])
        return np.where(inside, place, OUTSIDE)


def cells_at_level(latlon_deg: np.ndarray, level: int, fewest_positions: int = 1) -> CellPartition:
    """Return the cells of one S2 level that hold at least ``fewest_positions`` of the positions (N, 2).

    The paper takes level 13 (about 1 km) for PlaNet and ISNs, and 8, 10, 11, 13 for GeoDecoder.
    """
    cells, counts = np.unique(parent_cells(leaf_cells(latlon_deg), level), return_counts=True)
    return _partition(cells[counts >= fewest_positions])


def with_mean_centres(partition: CellPartition, latlon_deg: np.ndarray) -> CellPartition:
    """Return the partition with each cell standing for the centroid of the positions (N, 2) in it, as in the ISNs.

    A cell without any keeps its own centre.
    """
    centres = partition.centres_latlon_deg.copy()
    classes = partition.classes_of(latlon_deg)
    order = np.argsort(classes, kind="stable")
    numbers, starts = np.unique(classes[order], return_index=True)
    for number, members in zip(numbers, np.split(order, starts[1:]), strict=True):
        if number != OUTSIDE:
            centres[number] = centroid_latlon(latlon_deg[members])
    return CellPartition(partition.cell_ids, centres)


def parents_among(fine: CellPartition, coarse: CellPartition) -> np.ndarray:
    """Return the (K,) class in ``coarse`` of each class of ``fine``, ``OUTSIDE`` for a cell it does not cover."""
    return coarse.classes_of(cell_centres(fine))


def cell_centres(partition: CellPartition) -> np.ndarray:
    """Return the (K, 2) true centres of the cells in degrees, whatever position stands for them."""
    return np.array([s2cell.cell_id_to_lat_lon(int(cell)) for cell in partition.cell_ids]).reshape(-1, 2)


def leaf_cells(latlon_deg: np.ndarray) -> np.ndarray:
    """Return the (N,) uint64 ids of the finest S2 cells of positions (N, 2); children of a cell are next to it."""
    ids = (s2cell.lat_lon_to_cell_id(lat, lon, FINEST_LEVEL) for lat, lon in latlon_deg.tolist())
    return np.fromiter(ids, dtype=np.uint64, count=len(latlon_deg))


def parent_cells(cell_ids: np.ndarray, level: int) -> np.ndarray:
    """Return the (N,) uint64 ids of the cells of a level around finer cells."""
    if not 0 <= level <= FINEST_LEVEL:
        raise ValueError(f"S2 has levels 0 to {FINEST_LEVEL}, not {level}")
    # An id is the path to the cell, two bits a level, then a one and zeros.
    lowest = np.uint64(1 << 2 * (FINEST_LEVEL - level))
    return (cell_ids & ~(lowest - np.uint64(1)) & ~lowest) | lowest


def _leaf_ranges(cell_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last leaf id under each cell."""
    span = (cell_ids & (~cell_ids + np.uint64(1))) - np.uint64(1)
    return cell_ids - span, cell_ids + span


def _partition(cell_ids: np.ndarray) -> CellPartition:
    if len(cell_ids) == 0:
        raise ValueError("no cell holds enough positions: lower fewest_positions")
    bare = CellPartition(cell_ids, np.zeros((len(cell_ids), 2)))
    return CellPartition(cell_ids, cell_centres(bare))


def hierarchy_of(partitions: Sequence[CellPartition]) -> list[np.ndarray]:
    """Return, for each partition, the (K,) class in it of every cell of the last, which is the finest."""
    return [parents_among(partitions[-1], partition) for partition in partitions]
