"""Make the country raster that ``vidtag_cli.geo.land`` reads, from Natural Earth in TopoJSON.

The source is ``countries-50m.json`` of the npm package ``world-atlas`` 2.0.2 (Natural Earth 4.1.0, 1:50m, public
domain)::

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python -m training.natural_earth package/countries-50m.json

The result depends on the source alone; the same zlib writes the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np

CELL_DEG = 0.05
ROWS, COLUMNS = 3600, 7200

OUTPUT_FOLDER = Path(__file__).resolve().parent.parent / "vidtag_cli" / "data" / "natural_earth"

FULL_NAMES = {
    "Antigua and Barb.": "Antigua and Barbuda",
    "Ashmore and Cartier Is.": "Ashmore and Cartier Islands",
    "Bosnia and Herz.": "Bosnia and Herzegovina",
    "Br. Indian Ocean Ter.": "British Indian Ocean Territory",
    "British Virgin Is.": "British Virgin Islands",
    "Cayman Is.": "Cayman Islands",
    "Central African Rep.": "Central African Republic",
    "Congo": "Republic of the Congo",
    "Cook Is.": "Cook Islands",
    "Dem. Rep. Congo": "Democratic Republic of the Congo",
    "Dominican Rep.": "Dominican Republic",
    "Eq. Guinea": "Equatorial Guinea",
    "Faeroe Is.": "Faroe Islands",
    "Falkland Is.": "Falkland Islands",
    "Fr. Polynesia": "French Polynesia",
    "Fr. S. Antarctic Lands": "French Southern and Antarctic Lands",
    "Heard I. and McDonald Is.": "Heard Island and McDonald Islands",
    "Indian Ocean Ter.": "Australian Indian Ocean Territories",
    "Macedonia": "North Macedonia",
    "Marshall Is.": "Marshall Islands",
    "N. Cyprus": "Northern Cyprus",
    "N. Mariana Is.": "Northern Mariana Islands",
    "Pitcairn Is.": "Pitcairn Islands",
    "S. Geo. and the Is.": "South Georgia and the South Sandwich Islands",
    "S. Sudan": "South Sudan",
    "Solomon Is.": "Solomon Islands",
    "St-Barthélemy": "Saint Barthélemy",
    "St-Martin": "Saint Martin",
    "St. Kitts and Nevis": "Saint Kitts and Nevis",
    "St. Pierre and Miquelon": "Saint Pierre and Miquelon",
    "St. Vin. and Gren.": "Saint Vincent and the Grenadines",
    "São Tomé and Principe": "São Tomé and Príncipe",
    "Turks and Caicos Is.": "Turks and Caicos Islands",
    "U.S. Virgin Is.": "United States Virgin Islands",
    "W. Sahara": "Western Sahara",
    "Wallis and Futuna Is.": "Wallis and Futuna",
}
"""Natural Earth shortens names for map labels; people type them in full. The short form stays as an alias."""

OTHER_ALIASES = {
    "Cabo Verde": ("Cape Verde",),
    "Congo": ("Congo-Brazzaville",),
    "Czechia": ("Czech Republic",),
    "Côte d'Ivoire": ("Ivory Coast",),
    "Dem. Rep. Congo": ("DR Congo", "DRC", "Congo-Kinshasa"),
    "Myanmar": ("Burma",),
    "Netherlands": ("Holland",),
    "Timor-Leste": ("East Timor",),
    "Turkey": ("Türkiye",),
    "United Arab Emirates": ("UAE",),
    "United Kingdom": ("UK", "Great Britain"),
    "United States of America": ("USA", "United States"),
    "Vatican": ("Vatican City", "Holy See"),
    "eSwatini": ("Swaziland",),
}

Polygon = list[np.ndarray]


def decode_countries(topology: dict[str, Any]) -> list[tuple[str, str | None, list[Polygon]]]:
    """Return (name, ISO 3166-1 numeric code or None, polygons) in order of name; rings are (V, 2) lon, lat degrees."""
    scale, translate = (np.asarray(topology["transform"][key]) for key in ("scale", "translate"))
    arcs = [np.cumsum(np.asarray(arc), axis=0) * scale + translate for arc in topology["arcs"]]
    countries = []
    for geometry in topology["objects"]["countries"]["geometries"]:
        polygons = [geometry["arcs"]] if geometry["type"] == "Polygon" else geometry["arcs"]
        rings = [[_join_arcs(arcs, indices) for indices in polygon] for polygon in polygons]
        countries.append((geometry["properties"]["name"], geometry.get("id"), rings))
    return sorted(countries, key=lambda country: FULL_NAMES.get(country[0], country[0]))


def _join_arcs(arcs: list[np.ndarray], indices: list[int]) -> np.ndarray:
    parts = [arcs[index] if index >= 0 else arcs[~index][::-1] for index in indices]
    return np.concatenate([parts[0], *(part[1:] for part in parts[1:])])  # neighbours share their end point


def close_on_the_sphere(ring: np.ndarray) -> np.ndarray:
    """Return the ring with longitudes that run on across 180, closed through the pole if it goes round one."""
    lon = np.unwrap(ring[:, 0], period=360.0)
    if abs(lon[-1] - lon[0]) < 180.0:
        return np.stack([lon, ring[:, 1]], axis=-1)
    pole = -90.0 if ring[:, 1].mean() < 0.0 else 90.0
    return np.concatenate(
        [np.stack([lon, ring[:, 1]], axis=-1), [[lon[-1], pole], [lon[0], pole]], [[lon[0], ring[0, 1]]]]
    )


def polygon_cells(polygon: Polygon) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the cells whose centre lies inside by the even-odd rule (holes are rings like
    others).
    """
    rings = [close_on_the_sphere(ring) for ring in polygon]
    crossings = [crossing for ring in rings for crossing in _edge_crossings(ring)]
    rows = np.concatenate([row for row, _ in crossings] or [np.empty(0, int)])
    if rows.size == 0:
        return rows, rows
    columns = np.concatenate([column for _, column in crossings])
    row0, column0 = rows.min(), columns.min()
    toggles = np.zeros((rows.max() - row0 + 1, columns.max() - column0 + 1), dtype=np.int32)
    np.add.at(toggles, (rows - row0, columns - column0), 1)
    inside_rows, inside_columns = np.nonzero(np.cumsum(toggles, axis=1) % 2)
    return inside_rows + row0, (inside_columns + column0) % COLUMNS


def _edge_crossings(ring: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, edge by edge, each row whose centre line the edge crosses and the first cell centre east of the
    crossing.
    """
    x, y = (ring[:, 0] + 180.0) / CELL_DEG - 0.5, (90.0 - ring[:, 1]) / CELL_DEG - 0.5  # cell centres at whole numbers
    for x0, y0, x1, y1 in zip(x[:-1], y[:-1], x[1:], y[1:], strict=True):
        low, high = min(y0, y1), max(y0, y1)
        rows = np.arange(int(np.ceil(low)), int(np.ceil(high)))  # half open: a shared vertex counts once
        if rows.size:
            yield rows, np.ceil(x0 + (rows - y0) / (y1 - y0) * (x1 - x0)).astype(int)


def rasterize(countries: list[tuple[str, str | None, list[Polygon]]]) -> np.ndarray:
    """Return the (3600, 7200) uint8 raster, row 0 in the north: 1 + place in ``countries``, or 0 for sea."""
    raster = np.zeros((ROWS, COLUMNS), dtype=np.uint8)
    for index, (_, _, polygons) in enumerate(countries, start=1):
        for polygon in polygons:
            raster[polygon_cells(polygon)] = index
    # An island smaller than a cell may contain no cell centre: it gets the cell it lies in, unless a country has it.
    for index, (_, _, polygons) in enumerate(countries, start=1):
        for polygon in polygons:
            row, column = _home_cell(polygon)
            if raster[row, column] == 0 and polygon_cells(polygon)[0].size == 0:
                raster[row, column] = index
    for index, (_, _, polygons) in enumerate(countries, start=1):
        if not (raster == index).any():  # a state smaller than a cell, inside another country
            raster[_home_cell(polygons[0])] = index
    return raster


def _home_cell(polygon: Polygon) -> tuple[int, int]:
    lon, lat = close_on_the_sphere(polygon[0])[:-1].mean(axis=0)
    row = min(max(int((90.0 - lat) / CELL_DEG), 0), ROWS - 1)
    return row, int((lon + 180.0) // CELL_DEG) % COLUMNS


def write_raster(source: Path, folder: Path) -> None:
    """Write ``countries_0p05deg.npz`` and ``countries.json`` of a TopoJSON file into ``folder``."""
    content = source.read_bytes()
    countries = decode_countries(json.loads(content))
    raster = rasterize(countries)
    indices = np.unique(raster)
    if indices.size != len(countries) + 1:
        lost = [countries[i - 1][0] for i in range(1, len(countries) + 1) if i not in indices]
        raise SystemExit(f"{source}: no cell left for {', '.join(lost)}")
    folder.mkdir(parents=True, exist_ok=True)
    _write_npz(folder / "countries_0p05deg.npz", raster)
    entries: list[dict[str, Any]] = [{"index": 0, "name": "sea", "iso_numeric": None, "aliases": []}]
    for index, (short, iso_numeric, _) in enumerate(countries, start=1):
        aliases = ([short] if short in FULL_NAMES else []) + list(OTHER_ALIASES.get(short, ()))
        name = FULL_NAMES.get(short, short)
        entries.append({"index": index, "name": name, "iso_numeric": iso_numeric, "aliases": aliases})
    document = {
        "source": "Natural Earth 4.1.0 admin 0 countries, 1:50m, via world-atlas 2.0.2 countries-50m.json",
        "source_sha256": hashlib.sha256(content).hexdigest(),
        "cell_deg": CELL_DEG,
        "countries": entries,
    }
    (folder / "countries.json").write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _write_npz(path: Path, raster: np.ndarray) -> None:
    # numpy.savez stamps the clock into the archive; a fixed date keeps the bytes the same in every run.
    entry = ZipInfo("raster.npy")
    entry.compress_type = ZIP_DEFLATED
    with ZipFile(path, "w", compresslevel=9) as archive, archive.open(entry, "w") as member:
        np.lib.format.write_array(member, raster, allow_pickle=False)


def main() -> None:
    """Read the command line and write the raster."""
    parser = argparse.ArgumentParser(description="Make the country raster from Natural Earth in TopoJSON.")
    parser.add_argument("countries_json", type=Path, help="countries-50m.json of world-atlas 2.0.2")
    parser.add_argument("--folder", type=Path, default=OUTPUT_FOLDER, help="where the two files go")
    arguments = parser.parse_args()
    write_raster(arguments.countries_json, arguments.folder)


if __name__ == "__main__":
    main()
