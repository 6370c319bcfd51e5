"""The result of a run: one estimate per analysed frame, in time order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Literal

Status = Literal["ok", "abstained"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One place a frame may show, after near neighbours were merged.

    ``score`` is the cosine similarity, ``probability`` the share of the posterior over the whole gallery; on a measured
    path the share of all paths that pass there.
    """

    lat_deg: float
    lon_deg: float
    score: float
    probability: float


@dataclass(frozen=True, slots=True)
class TrackPoint:
    """The estimate for one analysed frame.

    ``frame_index`` counts all frames of the video from 0, also those not analysed, and ``shot`` the shots of an edited
    video, also those without an analysed frame. ``media_time_s`` is the container's presentation timestamp.
    ``radius50_m`` and ``radius95_m`` are the radii inside which the stated share of validation frames had their true
    place. ``repeats_frame`` is the ``frame_index`` of the first frame with the same picture, None for a picture that is
    no repetition. ``confidence`` is the probability of the first candidate. ``belief_outside`` is the share of the
    model's belief that lies outside the places searched, None where these are the model's own. A point with status
    ``abstained`` has no position and says why in ``abstain_reason``.
    """

    frame_index: int
    media_time_s: float
    status: Status
    lat_deg: float | None = None
    lon_deg: float | None = None
    radius50_m: float | None = None
    radius95_m: float | None = None
    confidence: float | None = None
    candidates: tuple[Candidate, ...] = ()
    abstain_reason: str | None = None
    shot: int = 0
    repeats_frame: int | None = None
    belief_outside: float | None = None


def reason_kind(abstain_reason: str) -> str:
    """Return why a frame abstained without the numbers, which differ from frame to frame."""
    return abstain_reason.split(" (")[0]


@dataclass(frozen=True, slots=True)
class FrameSpan:
    """Analysed frames that follow each other in one shot: how many, the numbers and the times of the first and last."""

    first_frame: int
    last_frame: int
    first_media_time_s: float
    last_media_time_s: float
    frames: int


@dataclass(frozen=True, slots=True)
class Area:
    """Where the frames may have been filmed: centre, radius of 95 % of the belief in it, its share of all belief.

    ``place`` names its countries and continent, ``spans`` are the frames whose own position lies in it.
    """

    lat_deg: float
    lon_deg: float
    radius95_m: float
    share: float
    place: str
    spans: tuple[FrameSpan, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """Where a video or a shot was filmed, by all its frames: ``areas`` with the largest share of the belief first.

    The shares of the areas, ``elsewhere`` and ``cannot_say`` add up to 1. ``reasons`` divide ``cannot_say`` by why
    frames abstained. ``frames`` were analysed and count for ``counted``, since pictures that repeat each other count
    once. ``shot`` is None for a whole video.
    """

    areas: tuple[Area, ...]
    elsewhere: float
    cannot_say: float
    reasons: tuple[tuple[str, float], ...]
    frames: int
    counted: float
    shot: int | None = None


@dataclass(frozen=True, slots=True)
class TimeBasis:
    """Where absolute time comes from: ``start_time_utc`` is the instant of the track's first point, or None."""

    source: str = "none"
    start_time_utc: datetime | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Track:
    """All estimates of one video, with what a reader must know to judge them."""

    name: str
    points: tuple[TrackPoint, ...]
    model_name: str
    time_basis: TimeBasis = TimeBasis()
    smoothing: str = "none"
    limitations: tuple[str, ...] = ()
    answer: Answer | None = None
    shot_answers: tuple[Answer, ...] = ()

    def located(self) -> tuple[TrackPoint, ...]:
        """Return the points that have a position."""
        return tuple(point for point in self.points if point.status == "ok")

    def runs(self) -> tuple[tuple[TrackPoint, ...], ...]:
        """Return the unbroken spans of located points, cut at every abstention and where another shot begins."""
        spans = groupby(self.points, key=lambda point: (point.shot, point.status))
        return tuple(tuple(run) for (_, status), run in spans if status == "ok")

    def time_utc(self, point: TrackPoint) -> datetime | None:
        """Return the instant of a point to the millisecond, or None when the video gives no basis for absolute time.

        Rounded here and nowhere else, so that every output has the same instant.
        """
        start = self.time_basis.start_time_utc
        if start is None:
            return None
        return to_millisecond(start + timedelta(seconds=point.media_time_s - self.points[0].media_time_s))


def to_millisecond(instant: datetime) -> datetime:
    """Return the nearest whole millisecond, the later of two that are equally near."""
    later = instant + timedelta(microseconds=500)
    return later.replace(microsecond=later.microsecond // 1000 * 1000)


def check_track(track: Track) -> None:
    """Raise ValueError unless every number of the track is finite, in range and in order; every writer relies on it."""
    previous_s = -math.inf
    previous_shot = 0
    for point in track.points:
        where = f"frame {point.frame_index}"
        if point.shot < previous_shot:
            raise ValueError(f"{where}: shot {point.shot} does not follow {previous_shot}")
        previous_shot = point.shot
        if not math.isfinite(point.media_time_s) or point.media_time_s <= previous_s:
            raise ValueError(f"{where}: media_time_s {point.media_time_s} does not follow {previous_s}")
        previous_s = point.media_time_s
        _check_numbers(where, point)
        if point.status == "abstained":
            if point.lat_deg is not None or point.lon_deg is not None:
                raise ValueError(f"{where}: an abstained point has a position")
            continue
        _check_position(where, point)


def _check_position(where: str, point: TrackPoint) -> None:
    lat, lon = point.lat_deg, point.lon_deg
    if lat is None or lon is None or not (-90.0 <= lat <= 90.0 and -180.0 <= lon < 180.0):
        raise ValueError(f"{where}: position ({lat}, {lon}) is not latitude [-90, 90], longitude [-180, 180)")


def _check_numbers(where: str, point: TrackPoint) -> None:
    """Check what a point may have beside its position, also where it abstained."""
    for radius_m in (point.radius50_m, point.radius95_m):
        if radius_m is not None and not (math.isfinite(radius_m) and radius_m >= 0.0):
            raise ValueError(f"{where}: radius {radius_m} m is not a finite number of at least 0")
    if point.confidence is not None and not 0.0 <= point.confidence <= 1.0:
        raise ValueError(f"{where}: confidence {point.confidence} is outside [0, 1]")
    if point.candidates and point.confidence != point.candidates[0].probability:
        raise ValueError(
            f"{where}: confidence {point.confidence} is not the probability of its first candidate, "
            f"{point.candidates[0].probability}"
        )
    for place in point.candidates:
        if not all(map(math.isfinite, (place.lat_deg, place.lon_deg, place.score, place.probability))):
            raise ValueError(f"{where}: {place} holds a number that is not finite")
