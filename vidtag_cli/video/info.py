"""What a video file says about itself before its frames are decoded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path

from vidtag_cli.video.location import EmbeddedLocation
from vidtag_cli.video.orientation import Orientation


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """The container, its main video stream and its metadata, all as stated by the file.

    ``video_stream`` counts the file's video streams from 0. ``duration_s``, ``frame_count`` and the average frame rate
    are promises of the header, None where it makes none. ``time_base`` is the tick, in seconds, of presentation times.
    ``width_px`` and ``height_px`` are the size as stored; ``display_size_wh`` is the size after the rotation.
    ``creation_time`` is in a zone that nobody verified, whatever it says; ``apple_creation_date`` states its offset.
    ``tags`` has the container's keys as they are and those of the stream with ``video:`` before them. ``descriptor`` is
    that of the open file, through which its frames are read too; None to open ``path`` again.
    """

    path: Path
    size_bytes: int
    container_format: str
    video_stream: int
    codec: str
    pixel_format: str | None
    width_px: int
    height_px: int
    sample_aspect_ratio: Fraction | None
    orientation: Orientation
    time_base: Fraction
    start_time_s: float | None
    duration_s: float | None
    average_frame_rate_fps: float | None
    frame_count: int | None
    tags: dict[str, str]
    creation_time: datetime | None
    apple_creation_date: datetime | None
    embedded_location: EmbeddedLocation | None
    notes: tuple[str, ...] = ()
    descriptor: int | None = None

    @property
    def rotation_deg(self) -> int:
        """Degrees (0, 90, 180, 270) by which the stored picture is turned clockwise to be shown."""
        return self.orientation.rotation_deg

    @property
    def display_size_wh(self) -> tuple[int, int]:
        """Width and height in pixels of the picture as shown, before any pixel aspect ratio."""
        if self.orientation.swaps_sides:
            return self.height_px, self.width_px
        return self.width_px, self.height_px
