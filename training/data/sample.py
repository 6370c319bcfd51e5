"""What every data set is made of: sequences of frames with a true position each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from training.data.ledger import Ledger, ScanReport

MIN_FRAMES = 16
"""A clip in training has 16 frames (docs/method.md 2.1), and none is ever repeated to fill it up."""

OfficialSplit = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True)
class FrameSource:
    """Where the pixels of one frame are: an image, or a video at the presentation time ``media_time_s`` (None for an
    image), which is the frame's own time in the container and need not start at 0.
    """

    path: Path
    media_time_s: float | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """The names a data set gives to where a sequence was taken; None where it gives none."""

    city: str | None = None
    state: str | None = None
    country: str | None = None
    continent: str | None = None


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no single answer to ==
class Sample:
    """One sequence: ``frames`` in order of time, never fewer than the scan's ``min_frames``, each with a position.

    ``latlon_deg`` is (N, 2) float64 on WGS84, finite and in range; ``time_s`` is (N,) float64 seconds since the first
    frame, strictly increasing; where the data set has no times it counts frames instead.
    ``key`` is unique in the data set and the same on every machine ("msls/tokyo/AbC123"). A split never parts samples
    of one ``group`` and takes its share within each ``stratum``. ``official_split`` is set where the data set says it.
    """

    key: str
    group: str
    stratum: str
    frames: tuple[FrameSource, ...]
    latlon_deg: np.ndarray
    time_s: np.ndarray
    place: Place | None = None
    official_split: OfficialSplit | None = None

    def __post_init__(self) -> None:
        if self.latlon_deg.shape != (len(self.frames), 2) or self.time_s.shape != (len(self.frames),):
            raise ValueError(f"{self.key}: {len(self.frames)} frames, {self.latlon_deg.shape} positions")

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, slots=True)
class ScanResult:
    """The usable sequences of a data set in order of their keys, and what was found, kept and dropped on the way."""

    samples: tuple[Sample, ...]
    report: ScanReport


class DataSet(Protocol):
    """A data set on disk.

    ``scan`` reads metadata only, no pixels. It raises InputError when the folder does not have the data set's layout;
    whatever is wrong with single files is in the report.
    """

    @property
    def name(self) -> str: ...

    def scan(self) -> ScanResult: ...


@dataclass(frozen=True, slots=True)
class SequenceLabel:
    """What a sample is called and to whom it belongs; see ``Sample``."""

    key: str
    group: str
    stratum: str
    place: Place | None = None
    official_split: OfficialSplit | None = None


def sample_or_none(
    label: SequenceLabel,
    frames: Sequence[FrameSource],
    latlon_deg: np.ndarray,
    time_s: np.ndarray,
    min_frames: int,
    ledger: Ledger,
) -> Sample | None:
    """Return the sample of one sequence, or None, with a word in the ledger, when it has too few frames."""
    ledger.find("sequence")
    if len(frames) < min_frames:
        example = f"{label.key}: {len(frames)} frames"
        ledger.drop("sequence", "sequence_short", example)
        ledger.drop("frame", "sequence_short", example, len(frames))
        return None
    ledger.keep("sequence")
    ledger.keep("frame", len(frames))
    return Sample(
        key=label.key,
        group=label.group,
        stratum=label.stratum,
        frames=tuple(frames),
        latlon_deg=np.asarray(latlon_deg, dtype=np.float64).reshape(-1, 2),
        time_s=np.asarray(time_s, dtype=np.float64) - float(time_s[0]),
        place=label.place,
        official_split=label.official_split,
    )
