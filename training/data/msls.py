"""Mapillary Street-level Sequences (Warburg et al., CVPR 2020): photographs along streets of 30 cities.

Layout, from mapillary/mapillary_sls (README "Package structure", datasets/msls.py) and from a reader that asserts the
headers of the released tables:

    train_val/<city>/{query,database}/images/<key>.jpg
    train_val/<city>/{query,database}/seq_info.csv        ,key,sequence_key,frame_number
    train_val/<city>/{query,database}/raw.csv             ,key,lon,lat,ca,captured_at,pano
    train_val/<city>/{query,database}/postprocessed.csv   ,key,easting,northing,unique_cluster,...

The first column has no name and is a row number. Positions are those of raw.csv; postprocessed.csv repeats them in UTM
and is not read. The README calls the column of the sequence ``sequence_id``, the code and the tables
``sequence_key``: the latter is expected. ``test/`` is not read: the README lists no raw.csv, hence no positions, there.
captured_at is a date, so ``time_s`` counts frames by frame_number.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from training.data.ledger import Ledger
from training.data.positions import parsed_number, position_fault, relative_name, wrapped_lon_deg
from training.data.sample import MIN_FRAMES, FrameSource, Place, Sample, ScanResult, SequenceLabel, sample_or_none
from training.data.tables import read_rows
from vidtag_cli.errors import InputError

SIDES = ("query", "database")

CITIES = {
    "amman": Place("Amman", None, "Jordan", "Asia"),
    "amsterdam": Place("Amsterdam", None, "Netherlands", "Europe"),
    "austin": Place("Austin", "Texas", "United States", "North America"),
    "bangkok": Place("Bangkok", None, "Thailand", "Asia"),
    "berlin": Place("Berlin", None, "Germany", "Europe"),
    "boston": Place("Boston", "Massachusetts", "United States", "North America"),
    "budapest": Place("Budapest", None, "Hungary", "Europe"),
    "cph": Place("Copenhagen", None, "Denmark", "Europe"),
    "goa": Place("Goa", None, "India", "Asia"),
    "helsinki": Place("Helsinki", None, "Finland", "Europe"),
    "london": Place("London", "England", "United Kingdom", "Europe"),
    "manila": Place("Manila", None, "Philippines", "Asia"),
    "melbourne": Place("Melbourne", "Victoria", "Australia", "Oceania"),
    "moscow": Place("Moscow", None, "Russia", "Europe"),
    "nairobi": Place("Nairobi", None, "Kenya", "Africa"),
    "ottawa": Place("Ottawa", "Ontario", "Canada", "North America"),
    "paris": Place("Paris", None, "France", "Europe"),
    "phoenix": Place("Phoenix", "Arizona", "United States", "North America"),
    "saopaulo": Place("Sao Paulo", None, "Brazil", "South America"),
    "sf": Place("San Francisco", "California", "United States", "North America"),
    "tokyo": Place("Tokyo", None, "Japan", "Asia"),
    "toronto": Place("Toronto", "Ontario", "Canada", "North America"),
    "trondheim": Place("Trondheim", None, "Norway", "Europe"),
    "zurich": Place("Zurich", None, "Switzerland", "Europe"),
}
"""The folders of train_val; the data set abbreviates two names."""


class _Row(NamedTuple):
    frame_number: int
    key: str
    image: Path
    lat_deg: float
    lon_deg: float


class _Raw(NamedTuple):
    lat_deg: float
    lon_deg: float
    is_panorama: bool


@dataclass(frozen=True, slots=True)
class MapillarySequences:
    """MSLS below ``root``, the folder that holds ``train_val``: query and database merged, grouped by sequence.

    Panoramas are kept and counted unless ``with_panoramas`` is False.
    """

    root: Path
    min_frames: int = MIN_FRAMES
    with_panoramas: bool = True

    @property
    def name(self) -> str:
        return "msls"

    def scan(self) -> ScanResult:
        """Return the sequences of all cities, split by nobody: hold out by hash, see ``splits``."""
        ledger = Ledger()
        cities = sorted(path for path in _folders(self.root / "train_val"))
        if not any((city / side / "seq_info.csv").is_file() for city in cities for side in SIDES):
            raise InputError(
                f"{self.root}: no train_val/<city>/query/seq_info.csv: give the folder that holds train_val"
            )
        seen: set[str] = set()
        samples = []
        for city in cities:
            ledger.find("city")
            ledger.keep("city")
            samples += self._city_samples(city, seen, ledger)
        return ScanResult(tuple(sorted(samples, key=lambda each: each.key)), ledger.report(self.name, self.root))

    def _city_samples(self, city: Path, seen: set[str], ledger: Ledger) -> list[Sample]:
        sequences: dict[str, list[_Row]] = defaultdict(list)
        for side in SIDES:
            ledger.find("folder")
            folder = city / side
            absent = [name for name in ("seq_info.csv", "raw.csv") if not (folder / name).is_file()]
            if absent:
                ledger.drop("folder", "table_missing", f"{relative_name(folder, self.root)}: {', '.join(absent)}")
                continue
            ledger.keep("folder")
            for sequence_key, row in self._usable_rows(folder, seen, ledger):
                sequences[sequence_key].append(row)
        samples = [self._sample(city.name, key, rows, ledger) for key, rows in sorted(sequences.items())]
        return [sample for sample in samples if sample is not None]

    def _usable_rows(self, folder: Path, seen: set[str], ledger: Ledger) -> Iterator[tuple[str, _Row]]:
        """Yield sequence and row of each frame of a folder that has all a frame needs."""
        where = relative_name(folder, self.root)
        raw = _read_raw(folder, where, ledger)
        images = _names(folder / "images")
        listed = set()
        for line, (key, sequence_key, number_text) in read_rows(
            folder / "seq_info.csv", ("key", "sequence_key", "frame_number")
        ):
            ledger.find("frame")
            listed.add(key)
            example = f"{where}/seq_info.csv line {line}: {key}"
            number = parsed_number(number_text)
            position = raw.get(key)
            if not key or not sequence_key or not number.is_integer():
                ledger.drop("frame", "row_malformed", example)
            elif key in seen:
                ledger.drop("frame", "duplicate_key", example)
            elif position is None:
                ledger.drop("frame", "raw_row_missing", example)
            elif (fault := position_fault(position.lat_deg, position.lon_deg)) is not None:
                ledger.drop("frame", fault, example)
            elif f"{key}.jpg" not in images:
                ledger.drop("frame", "image_missing", example)
            elif position.is_panorama and not self.with_panoramas:
                ledger.drop("frame", "panorama", example)
            else:
                if position.is_panorama:
                    ledger.note("frame", "panorama", example)
                seen.add(key)
                image = folder / "images" / f"{key}.jpg"
                yield sequence_key, _Row(int(number), key, image, position.lat_deg, wrapped_lon_deg(position.lon_deg))
        for key in raw.keys() - listed:
            ledger.find("frame")
            ledger.drop("frame", "sequence_row_missing", f"{where}/raw.csv: {key}")
        for name in sorted(images - {f"{key}.jpg" for key in listed}):
            ledger.note("image", "image_unlisted", f"{where}/images/{name}")

    def _sample(self, city: str, sequence_key: str, rows: list[_Row], ledger: Ledger) -> Sample | None:
        key = f"{self.name}/{city}/{sequence_key}"
        if any(later.frame_number < earlier.frame_number for earlier, later in zip(rows, rows[1:], strict=False)):
            ledger.note("sequence", "unordered", key)
        kept: list[_Row] = []
        for row in sorted(rows):
            if kept and row.frame_number == kept[-1].frame_number:
                ledger.drop("frame", "duplicate_frame_number", f"{key}: {row.frame_number} {row.key}")
            else:
                kept.append(row)
        return sample_or_none(
            SequenceLabel(key, f"{city}/{sequence_key}", city, CITIES.get(city)),
            [FrameSource(row.image) for row in kept],
            np.array([(row.lat_deg, row.lon_deg) for row in kept]),
            np.array([row.frame_number for row in kept], dtype=np.float64),
            self.min_frames,
            ledger,
        )


def _read_raw(folder: Path, where: str, ledger: Ledger) -> dict[str, _Raw]:
    rows: dict[str, _Raw] = {}
    for line, (key, lon, lat, pano) in read_rows(folder / "raw.csv", ("key", "lon", "lat", "pano")):
        if key in rows:
            ledger.note("row", "duplicate_raw_row", f"{where}/raw.csv line {line}: {key}")
        else:
            rows[key] = _Raw(parsed_number(lat), parsed_number(lon), pano.lower() in ("true", "1"))
    return rows


def _folders(path: Path) -> list[Path]:
    return [entry for entry in path.iterdir() if entry.is_dir()] if path.is_dir() else []


def _names(folder: Path) -> set[str]:
    """Return the names in a folder; one listing instead of a million questions to the file system."""
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries}
