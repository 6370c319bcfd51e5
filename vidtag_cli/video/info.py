"""What a video file says about itself before its frames are decoded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path

from vidtag_cli.video.location import EmbeddedLocation
from vidtag_cli.video.orientation import Orientation
from vidtag_cli.video.streams import StreamSummary


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """The container, its main video stream and its metadata, all as stated by the file.

    ``video_stream`` counts the file's video streams from 0. ``duration_s``, ``frame_count`` and the average frame rate
    are promises of the header, None where it makes none. ``time_base`` is the tick, in seconds, of presentation times.
    ``width_px`` and ``height_px`` are the size as stored; ``display_size_wh`` is the size after the rotation.
    ``creation_time`` is in a zone that nobody verified, whatever it says; ``apple_creation_date`` states its offset.
    ``tags`` has the container's keys as they are and those of the stream with ``video:`` before them. ``descriptor`` is
    that of the open file, through which its frames are read too; None to open ``path`` again.

    ``stream_index`` is the stream's number among all streams, as ffmpeg counts them, and ``other_streams`` are the
    video streams that were not chosen. ``origin_s`` is where on the container's clock the recording begins, which is
    what a creation date dates: the video may begin later. ``first_frame_pts`` is the time, in ticks, of the first frame
    that could be decoded, None where that took too long. ``missing_bytes`` is how much the file lacks by its own
    account.
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
    stream_index: int = 0
    other_streams: tuple[StreamSummary, ...] = ()
    origin_s: float = 0.0
    first_frame_pts: int | None = None
    missing_bytes: int = 0

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

    @property
    def stream_choice(self) -> str | None:
        """Which stream was chosen and how to choose another one, or None where there is no other."""
        if not self.other_streams:
            return None
        others = ", ".join(stream.text for stream in self.other_streams)
        return (
            f"stream {self.stream_index} ({self.codec}, {self.width_px} x {self.height_px}) is located, not {others}: "
            "--stream N chooses another"
        )
