from __future__ import annotations

import numpy as np
import pytest

from training.baselines.cells import (
    OUTSIDE,
    cell_centres,
    cells_at_level,
    hierarchy_of,
    leaf_cells,
    parent_cells,
    with_mean_centres,
)
from vidtag_cli.geo.sphere import centroid_latlon, haversine_km, latlon_from_unit_vector

s2cell = pytest.importorskip("s2cell", reason="pip install -e '.[train]'")

MEAN_EDGE_KM = 7842.0
"""Mean edge of the six cells of level 0 (S2 documentation); each level halves it."""


def everywhere(count, seed=0):
    return latlon_from_unit_vector(np.random.default_rng(seed).normal(size=(count, 3)))


def clustered(count=3000, seed=0):
    """Positions around three towns, one on the antimeridian, and some all over the Earth."""
    random = np.random.default_rng(seed)
    towns = np.array([(52.5, 13.4), (-17.0, 179.99), (89.9, 0.0)])[random.integers(0, 3, count)]
    near = towns + random.normal(0.0, 0.05, (count, 2))
    near = np.stack([near[:, 0].clip(-90, 90), (near[:, 1] + 180) % 360 - 180], axis=-1)
    return np.concatenate([near, everywhere(200, seed)])


@pytest.mark.parametrize("level", [0, 1, 8, 13, 29, 30])
def test_parents_are_those_of_the_library(level):
    leaves = leaf_cells(everywhere(200))
    expected = [s2cell.cell_id_to_parent_cell_id(int(leaf), level) for leaf in leaves]
    assert parent_cells(leaves, level).tolist() == expected


@pytest.mark.parametrize("level", [0, 5, 13])
def test_classes_are_the_cells_the_library_puts_positions_in(level):
    positions, others = clustered(500), everywhere(500, seed=1)
    partition = cells_at_level(positions, level)
    for latlon in (positions, others):
        cells = np.array([s2cell.lat_lon_to_cell_id(lat, lon, level) for lat, lon in latlon], dtype=np.uint64)
        known = np.isin(cells, partition.cell_ids)
        classes = partition.classes_of(latlon)
        assert (classes[~known] == OUTSIDE).all()
        assert np.array_equal(partition.cell_ids[classes[known]], cells[known])
    assert (partition.classes_of(positions) != OUTSIDE).all()


def test_a_position_is_near_the_centre_of_its_cell():
    positions = clustered()
    partition = cells_at_level(positions, 13)
    away_km = haversine_km(positions, partition.centres_latlon_deg[partition.classes_of(positions)])
    assert away_km.max() < MEAN_EDGE_KM / 2**13 * 1.5  # half the diagonal of the largest cells, and some


def test_rare_cells_are_dropped_and_nothing_left_is_an_error():
    positions = clustered()
    partition = cells_at_level(positions, 6, fewest_positions=50)
    counts = np.bincount(partition.classes_of(positions)[partition.classes_of(positions) != OUTSIDE])
    assert counts.min() >= 50
    with pytest.raises(ValueError, match="fewest_positions"):
        cells_at_level(positions, 6, fewest_positions=10**6)


def test_mean_centres_are_centroids_on_the_sphere():
    positions = clustered()
    partition = cells_at_level(positions, 4)
    moved = with_mean_centres(partition, positions)
    classes = partition.classes_of(positions)
    for number in range(len(partition)):
        members = positions[classes == number]
        assert moved.centres_latlon_deg[number] == pytest.approx(centroid_latlon(members))
    assert np.array_equal(moved.cell_ids, partition.cell_ids)


def test_a_hierarchy_names_the_cells_around_each_finest_cell():
    positions = clustered()
    partitions = [cells_at_level(positions, level) for level in (8, 10, 13)]
    around = hierarchy_of(partitions)
    finest = partitions[-1].classes_of(positions)
    for partition, classes in zip(partitions, around, strict=True):
        assert np.array_equal(classes[finest], partition.classes_of(positions))
    assert np.array_equal(around[-1], np.arange(len(partitions[-1])))
    assert cell_centres(partitions[0]).shape == (len(partitions[0]), 2)
