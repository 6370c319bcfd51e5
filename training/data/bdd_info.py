"""The GPS of one BDD100K video: its info file.

Keys, from the BDD100K documentation ("Info: the GPS/IMU information recorded along with the videos") and from code that
reads the release (svyas23/GAMa, GAMa_Net/data/dataset_train.py): ``startTime`` and ``endTime`` in milliseconds since
1970, ``locations`` about once a second with ``timestamp`` in milliseconds, ``latitude``, ``longitude``, ``speed``,
``accuracy``, ``course``. Some files have no ``locations`` but the same records under ``gps``. That ``startTime`` is the
instant of the first frame is what GAMa assumes; no document says it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from training.data.positions import parsed_number
from vidtag_cli.errors import InputError
from vidtag_cli.evaluation.fix import Fix

TRACK_KEYS = ("locations", "gps")
"""In order of preference: GAMa uses ``locations``."""


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
    records = next((found for key in TRACK_KEYS if (found := document.get(key))), None)
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
