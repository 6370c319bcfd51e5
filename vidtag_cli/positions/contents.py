"""What the reader of a format makes of the bytes of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from vidtag_cli.positions.position import Clock, Position


@dataclass(frozen=True, slots=True)
class Contents:
    """All positions of a file in its order, and what their times mean.

    ``clock`` is None where the file gives no times; ``without_time`` is then what to say of it. ``own_mark`` says by
    what the file is known as one that vidtag wrote, or None. ``first_fix_utc`` is the instant that telemetry gives the
    first usable position.
    """

    format_name: str
    clock: Clock | None
    positions: Sequence[Position]
    own_mark: str | None = None
    without_time: str = ""
    first_fix_utc: datetime | None = None
