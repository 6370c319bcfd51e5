"""Fixes from the GPS telemetry that a GoPro camera writes into its own videos (GPMF, streams GPS5 and GPS9).

Meaning of the keys: GoPro's repository gopro/gpmf-parser, README "GPS". GPS5 holds latitude, longitude, height and two
speeds, beside it GPSF the kind of lock (0, 2, 3), GPSP the dilution of precision times 100, GPSU the time; GPS9 (HERO11
and later) holds all of it in each sample.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import av.error

from vidtag_cli.errors import InputError
from vidtag_cli.evaluation.fix import Clock, Fix, checked_fix
from vidtag_cli.evaluation.gpmf_klv import Element, GpmfError, number_of, parse_gpmf

LOCKED = 3
"""A 2D lock guesses the height, and with it shifts the position; GoPro writes 0, 2 or 3."""

MAX_DILUTION = 10.0
"""Ten times a receiver's range error of some 5 m is a tenth of the finest threshold, 0.5 km. GoPro calls less than 5
good; cameras without satellites write 99.99.
"""

MAX_PAYLOAD_BYTES = 16 << 20

_GPS9_FIELDS = 9
_EPOCH_2000 = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class GpsSample:
    """One position as the camera wrote it, at ``media_time_s`` of the container's clock.

    ``lock`` and ``dilution`` are None, and ``utc`` is None, where the camera does not say.
    """

    media_time_s: float
    lat_deg: float
    lon_deg: float
    lock: int | None
    dilution: float | None
    utc: datetime | None


def read_gpmf_fixes(path: Path) -> tuple[Clock, list[Fix]]:
    """Return media time and the fixes that were made with a 3D lock and good satellites.

    Raises InputError when there is no telemetry, when it is damaged, or when not one fix is good, with the reason.
    """
    return "media_time", locked_fixes(path, read_gps_samples(path))


def locked_fixes(path: Path, samples: Sequence[GpsSample]) -> list[Fix]:
    """Return the good ones among the samples of a file as fixes. Raises InputError when there is none."""
    if not samples:
        raise InputError(f"{path}: holds no GoPro telemetry with GPS: give the track as a GPX or CSV file")
    faults = Counter(fault for sample in samples if (fault := lock_fault(sample)) is not None)
    good = [sample for sample in samples if lock_fault(sample) is None]
    if not good:
        reasons = ", ".join(f"{count} {reason}" for reason, count in faults.most_common())
        raise InputError(f"{path}: its GPS had no usable lock, so its positions are no truth: {reasons}")
    return [_fix(path, each) for each in good]


def _fix(path: Path, sample: GpsSample) -> Fix:
    where = f"telemetry at {sample.media_time_s:.3f} s"
    return checked_fix(path, where, sample.media_time_s, repr(sample.lat_deg), repr(sample.lon_deg))


def lock_fault(sample: GpsSample) -> str | None:
    """Return why a position cannot be trusted, or None."""
    if sample.lock is None:
        return "without word of a lock"
    if sample.lock < LOCKED:
        return "with a 2D lock only" if sample.lock == 2 else "without a lock"
    if sample.dilution is not None and not sample.dilution <= MAX_DILUTION:
        return f"with a dilution of precision above {MAX_DILUTION:g}"
    return None


def read_gps_samples(path: Path) -> list[GpsSample]:
    """Return all positions of the telemetry, good or bad, in order of the file; none where there is no telemetry.

    The samples of a payload are spread evenly over its duration, as the camera takes them. Raises InputError when the
    file is no MP4 or MOV or its telemetry is damaged.
    """
    samples: list[GpsSample] = []
    for begin_s, duration_s, payload in _payloads(path):
        try:
            samples += _payload_samples(parse_gpmf(payload), begin_s, duration_s)
        except GpmfError as error:
            raise InputError(f"{path}: its telemetry at {begin_s:.3f} s is damaged: {error}") from error
    return samples


def _payloads(path: Path) -> Iterator[tuple[float, float, bytes]]:
    """Yield begin and duration in seconds and the bytes of each GPMF payload."""
    try:
        with path.open("rb") as stream, av.open(stream, "r", format="mov", metadata_errors="replace") as container:
            data_streams = [each for each in container.streams if each.type == "data"]
            if not data_streams:
                return
            for packet in container.demux(data_streams):
                if packet.pts is None or packet.size < 8 or bytes(memoryview(packet)[:4]) != b"DEVC":
                    continue  # time codes and other data, or the empty packet at the end
                if packet.size > MAX_PAYLOAD_BYTES:
                    raise InputError(f"{path}: a telemetry payload of {packet.size} bytes is not a camera's")
                yield (
                    float(packet.pts * packet.time_base),
                    float((packet.duration or 0) * packet.time_base),
                    bytes(packet),
                )
    except av.error.FFmpegError as error:
        raise InputError(f"{path}: not an MP4 or MOV file that can be read ({error.strerror})") from error


def _payload_samples(root: Element, begin_s: float, duration_s: float) -> list[GpsSample]:
    streams = list(root.nests("STRM"))
    for key, read in (("GPS9", _gps9), ("GPS5", _gps5)):  # a HERO11 writes both; the newer says more of each sample
        for stream in streams:
            element = next((each for each in stream.children if each.key == key and each.count), None)
            if element is not None:
                media_time_s = [begin_s + index * duration_s / element.count for index in range(element.count)]
                return read(stream, element, media_time_s)
    return []


def _gps5(stream: Element, element: Element, media_time_s: list[float]) -> list[GpsSample]:
    rows = _scaled(stream, element, None, fields=2)
    lock, dilution = number_of(stream.children, "GPSF"), number_of(stream.children, "GPSP")
    utc = _gpsu(stream)
    return [
        GpsSample(
            time_s, row[0], row[1], None if lock is None else int(lock), None if dilution is None else dilution / 100.0,
            None if utc is None else utc + timedelta(seconds=time_s - media_time_s[0]),
        )
        for time_s, row in zip(media_time_s, rows, strict=True)
    ]  # fmt: skip


def _gps9(stream: Element, element: Element, media_time_s: list[float]) -> list[GpsSample]:
    kinds = next((each.text() for each in stream.children if each.key == "TYPE"), None)
    rows = _scaled(stream, element, kinds, fields=_GPS9_FIELDS)
    return [
        GpsSample(time_s, row[0], row[1], int(row[8]), row[7], _since_2000(row[5], row[6]))
        for time_s, row in zip(media_time_s, rows, strict=True)
    ]


def _scaled(stream: Element, element: Element, kinds: str | None, fields: int) -> list[tuple[float, ...]]:
    """Return the rows divided by the stream's scale: one number for all fields, or one for each."""
    rows = element.rows(kinds)
    width = len(rows[0])
    if width < fields:
        raise GpmfError(f"{element.key} has {width} fields, not {fields}")
    scale = next(
        ([value for row in each.rows() for value in row] for each in stream.children if each.key == "SCAL"), None
    )
    if scale is None or len(scale) not in (1, width):
        raise GpmfError(f"{element.key} has {width} fields and {0 if scale is None else len(scale)} scales")
    if not all(math.isfinite(each) and each != 0.0 for each in scale):
        raise GpmfError(f"{element.key}: a scale of zero")
    scale = scale * width if len(scale) == 1 else scale
    scaled = [tuple(value / by for value, by in zip(row, scale, strict=True)) for row in rows]
    if not all(math.isfinite(value) for row in scaled for value in row):
        raise GpmfError(f"{element.key}: a value is not a number")
    return scaled


def _gpsu(stream: Element) -> datetime | None:
    text = next((each.text() for each in stream.children if each.key == "GPSU"), "")
    try:
        return datetime.strptime(text, "%y%m%d%H%M%S.%f").replace(tzinfo=UTC)
    except ValueError:
        return None


def _since_2000(days: float, seconds: float) -> datetime | None:
    try:
        return _EPOCH_2000 + timedelta(days=days, seconds=seconds)
    except OverflowError:
        return None
