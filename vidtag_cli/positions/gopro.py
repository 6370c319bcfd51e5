"""Positions of the GPS telemetry that a GoPro camera writes into its own videos (GPMF, streams GPS5 and GPS9).

Meaning of the keys: GoPro's repository gopro/gpmf-parser, README "GPS". GPS5 holds latitude, longitude, height and two
speeds, beside it GPSF the kind of lock (0, 2, 3), GPSP the dilution of precision times 100, GPSU the time; GPS9 (HERO11
and later) holds all of it in each sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BufferedReader

import av
import av.error

from vidtag_cli.positions.contents import Contents
from vidtag_cli.positions.gpmf_klv import Element, GpmfError, number_of, parse_gpmf
from vidtag_cli.positions.position import Fault, MalformedError, checked_position

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


def read_gopro(stream: BufferedReader) -> Contents:
    """Return the positions of the telemetry in a video by media time; those without a 3D lock and good satellites have
    a fault.

    Raises MalformedError when the file is no MP4 or MOV or its telemetry is damaged.
    """
    samples = read_gps_samples(stream)
    positions = [
        checked_position(
            f"telemetry at {sample.media_time_s:.3f} s", sample.lat_deg, sample.lon_deg, sample.media_time_s,
            fault=lock_fault(sample),
        )
        for sample in samples
    ]  # fmt: skip
    usable = (sample.utc for sample, position in zip(samples, positions, strict=True) if position.fault is None)
    return Contents("gopro", "media_time", positions, first_fix_utc=next(usable, None))


def lock_fault(sample: GpsSample) -> Fault | None:
    """Return why a position cannot be trusted, or None."""
    if sample.lock is None:
        return "lock_unknown"
    if sample.lock < LOCKED:
        return "lock_2d" if sample.lock == 2 else "no_lock"
    if sample.dilution is not None and not sample.dilution <= MAX_DILUTION:
        return "dilution"
    return None


def read_gps_samples(stream: BufferedReader) -> list[GpsSample]:
    """Return all positions of the telemetry, good or bad, in order of the file; none where there is no telemetry.

    The samples of a payload are spread evenly over its duration, as the camera takes them. Raises MalformedError as
    :func:`read_gopro` does.
    """
    samples: list[GpsSample] = []
    for begin_s, duration_s, payload in _payloads(stream):
        try:
            samples += _payload_samples(parse_gpmf(payload), begin_s, duration_s)
        except GpmfError as error:
            raise MalformedError(f"its telemetry at {begin_s:.3f} s is damaged: {error}") from error
    return samples


def _payloads(stream: BufferedReader) -> Iterator[tuple[float, float, bytes]]:
    """Yield begin and duration in seconds and the bytes of each GPMF payload."""
    try:
        with av.open(stream, "r", format="mov", metadata_errors="replace") as container:
            data_streams = [stream for stream in container.streams if stream.type == "data"]
            if not data_streams:
                return
            for packet in container.demux(data_streams):
                if packet.pts is None or packet.size < 8 or bytes(memoryview(packet)[:4]) != b"DEVC":
                    continue  # time codes and other data, or the empty packet at the end
                if packet.size > MAX_PAYLOAD_BYTES:
                    raise MalformedError(f"a telemetry payload of {packet.size} bytes is not a camera's")
                yield (
                    float(packet.pts * packet.time_base),
                    float((packet.duration or 0) * packet.time_base),
                    bytes(packet),
                )
    except av.error.FFmpegError as error:
        raise MalformedError(f"not an MP4 or MOV file that can be read ({error.strerror})") from error


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
