"""The generator of the country raster on a world of a few arcs: holes, the antimeridian, a pole, an islet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from training.natural_earth import CELL_DEG, decode_countries, rasterize, write_raster

ARCS = [
    [[10.0, 10.0], [14.0, 10.0], [14.0, 14.0], [10.0, 14.0], [10.0, 10.0]],  # 0: a square
    [[11.0, 11.0], [12.0, 11.0], [12.0, 12.0], [11.0, 12.0], [11.0, 11.0]],  # 1: its hole
    [[179.0, -1.0], [-179.0, -1.0], [-179.0, 1.0], [179.0, 1.0], [179.0, -1.0]],  # 2: across 180
    [[-180.0, -80.0], [-60.0, -80.0], [60.0, -80.0], [179.0, -80.0], [-180.0, -80.0]],  # 3: round the pole
    [[50.001, 0.001], [50.002, 0.001], [50.002, 0.002], [50.001, 0.001]],  # 4: smaller than a cell
    [[12.501, 13.001], [12.502, 13.001], [12.502, 13.002], [12.501, 13.001]],  # 5: the same inside the square
]


def topology() -> dict[str, object]:
    deltas = [[arc[0], *(np.diff(np.array(arc), axis=0).tolist())] for arc in ARCS]
    geometries = [
        {"type": "Polygon", "id": "001", "properties": {"name": "Square"}, "arcs": [[0], [~1]]},
        {"type": "MultiPolygon", "id": "002", "properties": {"name": "Across"}, "arcs": [[[2]]]},
        {"type": "Polygon", "id": "003", "properties": {"name": "Pole"}, "arcs": [[3]]},
        {"type": "Polygon", "properties": {"name": "Islet"}, "arcs": [[4]]},
        {"type": "Polygon", "properties": {"name": "Enclave"}, "arcs": [[5]]},
    ]
    transform = {"scale": [1.0, 1.0], "translate": [0.0, 0.0]}
    return {"transform": transform, "arcs": deltas, "objects": {"countries": {"geometries": geometries}}}


def test_a_small_world() -> None:
    countries = decode_countries(topology())
    raster = rasterize(countries)
    index = {name: i for i, (name, _, _) in enumerate(countries, start=1)}
    assert list(index) == ["Across", "Enclave", "Islet", "Pole", "Square"]
    per_degree = round(1.0 / CELL_DEG)
    assert (raster == index["Square"]).sum() == (16 - 1) * per_degree**2 - 1
    assert (raster == index["Enclave"]).sum() == 1
    assert (raster == index["Islet"]).sum() == 1
    across = raster == index["Across"]
    assert across.sum() == 4 * per_degree**2
    assert across[:, :per_degree].sum() == across[:, -per_degree:].sum() == 2 * per_degree**2
    assert (raster[-10 * per_degree :] == index["Pole"]).all()
    assert not (raster[: -10 * per_degree] == index["Pole"]).any()


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    source = tmp_path / "world.json"
    source.write_text(json.dumps(topology()))
    for folder in ("a", "b"):
        write_raster(source, tmp_path / folder)
    for name in ("countries_0p05deg.npz", "countries.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_country_without_room_is_an_error(tmp_path: Path) -> None:
    world = topology()
    geometries = world["objects"]["countries"]["geometries"]
    geometries.append({"type": "Polygon", "properties": {"name": "Zzz"}, "arcs": [[4]]})
    source = tmp_path / "world.json"
    source.write_text(json.dumps(world))
    with pytest.raises(SystemExit, match="Islet"):
        write_raster(source, tmp_path)
