"""Numbers, instants and names as every format of a track spells them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

MEDIA_TIME_DECIMALS = 6
RADIUS_DECIMALS = 1
CONFIDENCE_DECIMALS = 4

REPLACEMENT = "\ufffd"
WHITE_SPACE = re.compile(r"[\t\n\r\x85\u2028\u2029]+")
# What XML 1.0 forbids (section 2.2), the controls 7F-9F that it discourages, and with them every lone surrogate.
FORBIDDEN = re.compile("[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def legal_text(text: str) -> str:
    """Return one line of text that XML, JSON and UTF-8 can all carry; what they cannot becomes U+FFFD.

    File names reach this as Python decodes them, so undecodable bytes arrive as lone surrogates.
    """
    return FORBIDDEN.sub(REPLACEMENT, WHITE_SPACE.sub(" ", text))


def instant_text(instant: datetime) -> str:
    """Return ``2024-05-17T09:30:05.033Z``: UTC, always milliseconds, always Z.

    Raises ValueError for an instant without a zone: readers disagree about what it means.
    """
    if instant.tzinfo is None:
        raise ValueError(f"the instant {instant.isoformat()} has no time zone")
    # isoformat cuts digits off, so half a millisecond is added to round.
    rounded = instant.astimezone(UTC) + timedelta(microseconds=500)
    return rounded.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def media_time_text(media_time_s: float) -> str:
    """Return seconds with microseconds."""
    return f"{media_time_s:.{MEDIA_TIME_DECIMALS}f}"


def radius_text(radius_m: float) -> str:
    """Return metres with decimetres."""
    return f"{radius_m:.{RADIUS_DECIMALS}f}"


def confidence_text(confidence: float) -> str:
    """Return a share between 0 and 1 with four decimals."""
    return f"{confidence:.{CONFIDENCE_DECIMALS}f}"


def rounded(value: float | None, decimals: int) -> float | None:
    """Return a plain float for JSON with no more digits than the text formats have; None stays None."""
    return None if value is None else round(float(value), decimals)
