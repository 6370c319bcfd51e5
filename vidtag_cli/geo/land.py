"""Land and countries: one raster of 0.05 degree cells answers both "is this land?" and "which country?".

The raster is made from Natural Earth 1:50m by ``training/natural_earth.py``. A coast may be off by half a cell (2.8
km) and an island smaller than a cell is one cell.
"""

from __future__ import annotations

import difflib
import json
import unicodedata
from functools import lru_cache
from importlib.resources import as_file, files
from typing import Any

import numpy as np

from vidtag_cli.errors import UsageError
from vidtag_cli.geo.sphere import wrap_longitude_deg

CELL_DEG = 0.05
"""Side of a raster cell in degrees of latitude and longitude."""

SEA = 0
"""The country index of every cell that is no country."""


def country_index(latlon_deg: np.ndarray) -> np.ndarray:
    """Return the (N,) int64 country index of (N, 2) positions, 0 at sea; see ``country_names`` for their meaning."""
    raster = _raster()
    latlon_deg = np.asarray(latlon_deg, dtype=np.float64)
    rows = np.floor((90.0 - latlon_deg[..., 0]) / CELL_DEG).astype(np.int64)
    columns = np.floor((wrap_longitude_deg(latlon_deg[..., 1]) + 180.0) / CELL_DEG).astype(np.int64)
    return raster[rows.clip(0, raster.shape[0] - 1), columns.clip(0, raster.shape[1] - 1)].astype(np.int64)


def is_land(latlon_deg: np.ndarray) -> np.ndarray:
    """Return (N,) booleans, true on land; lakes and Antarctica count as land, the Caspian Sea does not."""
    return country_index(latlon_deg) != SEA


def country_names() -> tuple[str, ...]:
    """Return the English country names in the order of their index; the first is "sea"."""
    return tuple(entry["name"] for entry in _countries())


def find_country(name: str) -> int:
    """Return the index of a country by name, common alias or ISO 3166-1 numeric code, whatever its case and accents.

    Raises UsageError that lists close matches when there is none.
    """
    names = _names_to_index()
    plain_name = _plain(name)
    if plain_name in names:
        return names[plain_name]
    close = difflib.get_close_matches(plain_name, names, n=5, cutoff=0.5)
    close = close or [key for key in names if plain_name in key][:5]
    all_names = country_names()
    suggestions = list(dict.fromkeys(all_names[names[key]] for key in close))
    hint = f"did you mean {', '.join(suggestions)}?" if suggestions else "give the English name, such as Germany"
    raise UsageError(f"unknown country {name!r}: {hint}")


def country_cells(index: int) -> np.ndarray:
    """Return the (N, 2) cell centres of one country in degrees, from north to south."""
    rows, columns = np.nonzero(_raster() == index)
    return np.stack([90.0 - (rows + 0.5) * CELL_DEG, (columns + 0.5) * CELL_DEG - 180.0], axis=-1)


def _plain(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name.strip().casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


@lru_cache(maxsize=1)
def _raster() -> np.ndarray:
    with (
        as_file(files("vidtag_cli") / "data" / "natural_earth" / "countries_0p05deg.npz") as path,
        np.load(path, allow_pickle=False) as archive,
    ):
        return archive["raster"]


@lru_cache(maxsize=1)
def _countries() -> tuple[dict[str, Any], ...]:
    text = (files("vidtag_cli") / "data" / "natural_earth" / "countries.json").read_text(encoding="utf-8")
    return tuple(json.loads(text)["countries"])


@lru_cache(maxsize=1)
def _names_to_index() -> dict[str, int]:
    names: dict[str, int] = {}
    for entry in _countries()[1:]:
        keys = [entry["name"], *entry["aliases"], *([entry["iso_numeric"]] if entry["iso_numeric"] else [])]
        for key in keys:
            names.setdefault(_plain(key), entry["index"])
    return names
