"""CityGuessr68k (Kulkarni et al., ECCV 2024): videos of 166 cities, each a folder of about 100 numbered frames.

Layout: ParthPK/CityGuessr (dataloader.py) has a line a video, first the folder of its frames, then the numbers of city,
state, country, continent and more. The release itself (archives CityGuessr68k-*.sq, known here only from a public
reproduction that unpacked them) has

    <split>/<City>/<video>/<n>.jpg                 n from 1, without leading zeros; also below videos/
    {train,val}_labels*.txt                        the video's name, then labels, with commas; also below meta/
    labels_list.csv                                City,State,Country,Continent; also below meta/

with underscores for blanks and videos named <City>_<number>. The positions of the city centres are not part of it:
give them as ``city_centers.csv`` with the columns city, lat, lon beside labels_list.csv. Every frame of a video has
its city's centre for truth (docs/method.md 2.13). A video kept as a file, <City>/<video>.mp4, is read too. ``time_s``
counts frames by their numbers, for frames were drawn evenly and at a rate that is not told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from training.data.frames import IMAGE_SUFFIXES
from training.data.ledger import Ledger
from training.data.positions import parsed_number, position_fault, relative_name, wrapped_lon_deg
from training.data.sample import FrameSource, Place, Sample, ScanResult, SequenceLabel, sample_or_none
from training.data.tables import read_rows
from training.data.video_samples import VideoSampling
from training.data.video_times import read_video_times, sampled_frames
from vidtag_cli.errors import InputError, VidtagError

Part = Literal["train", "val"]

PARTS: tuple[Part, ...] = ("train", "val")
META_FOLDERS = ("meta", "")
VIDEO_FOLDERS = ("videos/{part}", "{part}", "videos", "")
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")
LABELS, CENTRES = "labels_list.csv", "city_centers.csv"


@dataclass(frozen=True, slots=True)
class _Cities:
    places: Mapping[str, Place]
    centres: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class CityVideos:
    """CityGuessr68k below ``root``; ``centres`` is another table of city centres than the one beside the labels."""

    root: Path
    centres: Path | None = None
    sampling: VideoSampling = field(default_factory=VideoSampling)

    @property
    def name(self) -> str:
        return "cityguessr"

    def scan(self) -> ScanResult:
        """Return a sample a video, with the official split and the names of its place."""
        ledger = Ledger()
        labels = self._meta(LABELS)
        centres_path = self.centres or self._meta(CENTRES)
        if labels is None:
            raise InputError(f"{self.root}: no {LABELS}, nor meta/{LABELS}: unpack CityGuessr68k-meta_files.sq here")
        if centres_path is None:
            raise InputError(f"{self.root}: no {CENTRES} beside {LABELS}: the release has no positions, so make that "
                             "table (city, lat, lon) of the cities in it")  # fmt: skip
        cities = _Cities(_read_places(labels), _read_centres(centres_path, ledger))
        samples: list[Sample] = []
        seen: set[str] = set()
        for part in PARTS:
            for video in self._videos(part, ledger):
                ledger.find("video")
                if video in seen:
                    ledger.drop("video", "duplicate_key", f"{part}: {video}")
                    continue
                seen.add(video)
                sample = self._sample(part, video, cities, ledger)
                if sample is not None:
                    samples.append(sample)
        self._note_unlisted(seen, ledger)
        return ScanResult(tuple(sorted(samples, key=lambda each: each.key)), ledger.report(self.name, self.root))

    def _meta(self, name: str) -> Path | None:
        return next((path for folder in META_FOLDERS if (path := self.root / folder / name).is_file()), None)

    def _videos(self, part: Part, ledger: Ledger) -> Iterator[str]:
        """Yield the names of one part's list; the first list of several counts."""
        lists = [path for folder in META_FOLDERS for path in sorted((self.root / folder).glob(f"{part}_labels*.txt"))]
        if not lists:
            ledger.note("list", "list_missing", f"{part}_labels*.txt")
            return
        with lists[0].open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                # A line names the video, or a path on its makers' machine whose last part is the name.
                name = line.partition(",")[0].strip().rstrip("/").rpartition("/")[2]
                if name not in ("", ".", ".."):
                    yield name

    def _sample(self, part: Part, video: str, cities: _Cities, ledger: Ledger) -> Sample | None:
        city = video.rpartition("_")[0] or video
        example = f"{part}: {video}"
        path = self._find(part, city, video)
        if path is None:
            ledger.drop("video", "video_missing", example)
            return None
        if city not in cities.centres:
            ledger.drop("video", "city_without_centre", example)
            return None
        if city not in cities.places:
            ledger.note("video", "city_without_names", example)
        try:
            frames, time_s = self._frames(path, ledger)
        except VidtagError as error:
            ledger.drop("video", "video_unreadable", str(error).replace(f"{self.root}/", ""))
            return None
        label = SequenceLabel(f"{self.name}/{part}/{video}", video, city, cities.places.get(city), part)
        latlon_deg = np.tile(np.array(cities.centres[city], dtype=np.float64), (len(frames), 1))
        sample = sample_or_none(label, frames, latlon_deg, time_s, self.sampling.min_frames, ledger)
        if sample is None:
            ledger.drop("video", "no_sequence", example)
        else:
            ledger.keep("video")
        return sample

    def _find(self, part: Part, city: str, video: str) -> Path | None:
        for folder in VIDEO_FOLDERS:
            base = self.root / folder.format(part=part) / city / video
            if base.is_dir():
                return base
            for suffix in VIDEO_SUFFIXES:
                file = base.with_name(video + suffix)
                if file.is_file():
                    return file
        return None

    def _frames(self, path: Path, ledger: Ledger) -> tuple[list[FrameSource], np.ndarray]:
        if path.is_dir():
            return self._numbered_frames(path, ledger)
        times_s = read_video_times(path).media_time_s
        times_s = times_s[sampled_frames(times_s, self.sampling.frames_per_s)]
        ledger.find("frame", len(times_s))
        return [FrameSource(path, float(value)) for value in times_s], times_s

    def _numbered_frames(self, folder: Path, ledger: Ledger) -> tuple[list[FrameSource], np.ndarray]:
        where = relative_name(folder, self.root)
        by_number: dict[int, Path] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in IMAGE_SUFFIXES:
                ledger.note("file", "not_an_image", f"{where}/{path.name}")
                continue
            ledger.find("frame")
            if not (path.stem.isascii() and path.stem.isdigit()):
                ledger.drop("frame", "frame_unnumbered", f"{where}/{path.name}")
            elif int(path.stem) in by_number:
                ledger.drop("frame", "duplicate_frame_number", f"{where}/{path.name}")
            else:
                by_number[int(path.stem)] = path
        numbers = np.array(sorted(by_number), dtype=np.float64)
        if len(numbers) and (absent := int(numbers[-1] - numbers[0]) + 1 - len(numbers)):
            ledger.note("frame", "frame_missing", f"{where}: {absent} of {len(numbers) + absent}", absent)
        return [FrameSource(by_number[int(number)]) for number in numbers], numbers

    def _note_unlisted(self, listed: set[str], ledger: Ledger) -> None:
        """Note the videos on disk that no list names: a list of another release would look like this."""
        for pattern in ("videos/*/*/*", "*/*/*"):
            for path in sorted(self.root.glob(pattern)):
                is_video = path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES
                is_named = path.parts[-3] in PARTS and path.name.startswith(f"{path.parts[-2]}_")
                if is_video and is_named and (path.name if path.is_dir() else path.stem) not in listed:
                    ledger.note("video", "video_unlisted", relative_name(path, self.root))


def _read_places(path: Path) -> dict[str, Place]:
    rows = read_rows(path, ("city", "state", "country", "continent"))
    return {cells[0]: Place(*(cell.replace("_", " ") or None for cell in cells)) for _, cells in rows}


def _read_centres(path: Path, ledger: Ledger) -> dict[str, tuple[float, float]]:
    centres: dict[str, tuple[float, float]] = {}
    for line, (city, lat, lon) in read_rows(path, ("city", "lat", "lon")):
        ledger.find("centre")
        position = parsed_number(lat), wrapped_lon_deg(parsed_number(lon))
        fault = position_fault(*position)
        if fault is not None or city in centres:
            ledger.drop("centre", fault or "duplicate_key", f"{path.name} line {line}: {city}")
            continue
        ledger.keep("centre")
        centres[city] = position
    return centres
