"""GAMa (Vyas et al., ECCV 2022): the videos of BDD100K by day that have usable GPS, with its lists of train and val.

Layout, from svyas23/GAMa (GAMa_Net/data/dataset_train.py, list/) and bdd100k/bdd100k (doc/source/download.rst):

    list/train_day.list, list/val_day.list or val_day_vid.list   a video's name a line, maybe its number of frames
    bdd100k/info/100k/{train,val}/<name>.json                    GPS about once a second
    bdd100k/videos/{train,val}/<name>.mov                        about 40 s at 30 fps

Lists may also lie in the root, and ``info`` and ``videos`` without the folders ``bdd100k`` and ``100k``, as GAMa's code
has them. Without a list every info file counts, and the report says so. The paper takes about 38 frames a video,
one a second; so does the default. Names such as 0008a165-c48f4b3e share their first part among drives of one source;
what it stands for is not documented, so all of them stay on one side of a split by hash.

The GPS of a video is its info file. Keys, from the BDD100K documentation ("Info: the GPS/IMU information recorded along
with the videos") and from code that reads the release (svyas23/GAMa, GAMa_Net/data/dataset_train.py): ``startTime`` and
``endTime`` in milliseconds since 1970, ``locations`` about once a second with ``timestamp`` in milliseconds,
``latitude``, ``longitude``, ``speed``, ``accuracy``, ``course``. Some files have no ``locations`` but the same records
under ``gps``. That ``startTime`` is the instant of the first frame is what GAMa assumes; no document says it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from training.data.ledger import Ledger
from training.data.positions import parsed_number, relative_name, truth_of_fixes
from training.data.sample import Sample, ScanResult, SequenceLabel
from training.data.video_samples import VideoSampling, report_clock_offset, video_samples
from training.data.video_times import read_video_times
from vidtag_cli.errors import InputError, VidtagError
from vidtag_cli.evaluation.fix import Fix

Part = Literal["train", "val"]

PARTS: tuple[Part, ...] = ("train", "val")
LIST_NAMES = ("{part}_day.list", "{part}_day_vid.list", "{part}.list")
LIST_FOLDERS = ("", "list")
INFO_FOLDERS = ("bdd100k/info/100k/{part}", "info/100k/{part}", "info/{part}")
VIDEO_FOLDERS = (
    "bdd100k/videos/{part}",
    "bdd100k/videos/100k/{part}",
    "videos/{part}",
    "videos/100k/{part}",
)

TRACK_KEYS = ("locations", "gps")
"""In order of preference: GAMa uses ``locations``."""


@dataclass(frozen=True, slots=True)
class DriveVideos:
    """GAMa's videos below ``root``, which holds the lists and the unpacked BDD100K."""

    root: Path
    sampling: VideoSampling = field(default_factory=VideoSampling)

    @property
    def name(self) -> str:
        return "gama"

    def scan(self) -> ScanResult:
        """Return a sample a video, more where its GPS has gaps, with the official split."""
        ledger = Ledger()
        samples: list[Sample] = []
        seen: set[str] = set()
        if not any(self._folder(INFO_FOLDERS, part) for part in PARTS):
            folders = ", ".join(folder.format(part="train") for folder in INFO_FOLDERS)
            raise InputError(f"{self.root}: none of the folders {folders}: unpack bdd100k_info.zip here")
        for part in PARTS:
            for name in self._names(part, ledger):
                ledger.find("video")
                if name in seen:
                    ledger.drop("video", "duplicate_key", f"{part}: {name}")
                    continue
                seen.add(name)
                samples += self._video_samples(part, name, ledger)
        return ScanResult(tuple(sorted(samples, key=lambda folder: folder.key)), ledger.report(self.name, self.root))

    def _names(self, part: Part, ledger: Ledger) -> Iterator[str]:
        """Yield the names of the first list there is, else of all info files."""
        for folder in LIST_FOLDERS:
            for pattern in LIST_NAMES:
                path = self.root / folder / pattern.format(part=part)
                if path.is_file():
                    yield from _listed(path)
                    return
        info = self._folder(INFO_FOLDERS, part)
        if info is not None:
            ledger.note("list", "list_missing", f"{part}: every info file counts")
            yield from sorted(path.stem for path in info.glob("*.json"))

    def _video_samples(self, part: Part, name: str, ledger: Ledger) -> list[Sample]:
        info_path, video_path = (
            self._file(INFO_FOLDERS, part, f"{name}.json"),
            self._file(VIDEO_FOLDERS, part, f"{name}.mov"),
        )
        if info_path is None or video_path is None:
            ledger.drop("video", "info_missing" if info_path is None else "video_missing", f"{part}: {name}")
            return []
        try:
            info = read_drive_info(info_path)
            truth = truth_of_fixes("media_time", info.fixes, relative_name(info_path, self.root), ledger)
        except InputError as error:
            ledger.drop("video", "track_unusable", _without(error, self.root))
            return []
        try:
            times = read_video_times(video_path)
        except VidtagError as error:
            ledger.drop("video", "video_unreadable", _without(error, self.root))
            return []
        report_clock_offset(relative_name(video_path, self.root), info.start_utc, times, ledger)
        begin_s = float(times.media_time_s[0]) if len(times.media_time_s) else 0.0
        truth = replace(truth, instants=truth.instants + begin_s)
        label = SequenceLabel(f"{self.name}/{part}/{name}", name.partition("-")[0], "bdd100k", None, part)
        samples = video_samples(video_path, times, truth, label, self.sampling, ledger)
        if samples:
            ledger.keep("video")
        else:
            ledger.drop("video", "no_sequence", f"{part}: {name}")
        return samples

    def _folder(self, patterns: tuple[str, ...], part: Part) -> Path | None:
        return next((path for pattern in patterns if (path := self.root / pattern.format(part=part)).is_dir()), None)

    def _file(self, patterns: tuple[str, ...], part: Part, name: str) -> Path | None:
        return next(
            (path for pattern in patterns if (path := self.root / pattern.format(part=part) / name).is_file()), None
        )


def _listed(path: Path) -> Iterator[str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a list of names that can be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        name = line.split(maxsplit=1)[0] if line.strip() else ""
        if "/" in name or name in ("..", "."):
            raise InputError(f"{path}: line {number}: {name!r} is not the name of a video")
        if name:
            yield name


def _without(error: VidtagError, root: Path) -> str:
    """Return the message with paths told from the root, so that a report is the same on every machine."""
    return str(error).replace(f"{root}/", "")


@dataclass(frozen=True, slots=True)
class DriveInfo:
    """Start of a video in UTC, and its fixes as written, good or bad; instants are seconds since the start."""

    start_utc: datetime
    fixes: tuple[Fix, ...]


def read_drive_info(path: Path) -> DriveInfo:
    """Return start and track of a video. Raises InputError for a file that is no such JSON or has neither."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: not a JSON object")
    start_ms = parsed_number(document.get("startTime"))
    records = next((track for key in TRACK_KEYS if (track := document.get(key))), None)
    if not isinstance(records, list):
        raise InputError(f"{path}: has none of the lists {', '.join(TRACK_KEYS)}")
    try:
        start_utc = datetime.fromtimestamp(start_ms / 1000.0, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InputError(f"{path}: startTime {document.get('startTime')!r} is no time in milliseconds") from error
    fixes = tuple(_fix(record, place, start_ms) for place, record in enumerate(records, start=1))
    return DriveInfo(start_utc, fixes)


def _fix(record: Any, place: int, start_ms: float) -> Fix:
    if not isinstance(record, dict):
        record = {}
    instant_s = (parsed_number(record.get("timestamp")) - start_ms) / 1000.0
    lat_deg, lon_deg = parsed_number(record.get("latitude")), parsed_number(record.get("longitude"))
    return Fix(instant_s if math.isfinite(instant_s) else math.nan, lat_deg, lon_deg, f"location {place}")
