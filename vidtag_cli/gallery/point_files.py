"""Points of a gallery from a file of positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidtag_cli.errors import InputError
from vidtag_cli.gallery.sources import PointSource
from vidtag_cli.positions.position import FAULT_WORDS
from vidtag_cli.positions.reading import left_out_text, read_position_file


def read_points(path: str | Path) -> PointSource:
    """Return the points of a GPX, CSV or GeoJSON file in its order.

    Entries at exactly 0, 0, a missing value far more often than a place in the Gulf of Guinea, and those without a
    position are left out and reported in ``warnings``. Raises InputError with the line for anything that is not a
    latitude and longitude.
    """
    file = read_position_file(path)
    points = [(position.lat_deg, position.lon_deg) for position in file.usable()]
    # A feature without a geometry says by itself that it has no place.
    places = {FAULT_WORDS[fault]: listed for fault, listed in file.left_out().items() if fault != "unlocated"}
    if not points:
        raise InputError(f"{file.path}: holds no point{': ' if places else ''}{left_out_text(places)}")
    warnings = (f"{file.path}: left out as missing values: {left_out_text(places)}",) if places else ()
    return PointSource(np.array(points, dtype=np.float64), f"points of {file.path.name}", warnings=warnings)
