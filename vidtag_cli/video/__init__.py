"""Reading videos: what a file says about itself, and its frames at the size and times the model wants.

``probe`` opens the container in this process with PyAV; ``decode`` has an ffmpeg process drop, turn, crop and scale the
frames before a pixel reaches Python.
"""

from __future__ import annotations

from vidtag_cli.video.batches import FrameBatch, frame_batches
from vidtag_cli.video.decode import Frame, VideoDecoder
from vidtag_cli.video.ffmpeg import FfmpegBinary, find_ffmpeg
from vidtag_cli.video.info import VideoInfo
from vidtag_cli.video.location import EmbeddedLocation
from vidtag_cli.video.probe import probe_video

__all__ = [
    "EmbeddedLocation",
    "FfmpegBinary",
    "Frame",
    "FrameBatch",
    "VideoDecoder",
    "VideoInfo",
    "find_ffmpeg",
    "frame_batches",
    "probe_video",
]
