"""When the frames of a video are shown, found without decoding a single one."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np

from vidtag_cli.errors import VideoError
from vidtag_cli.video import probe_video
from vidtag_cli.video.containers import FORMAT_WHITELIST, PROTOCOL_WHITELIST, file_url
from vidtag_cli.video.info import VideoInfo
from vidtag_cli.video.sampling import SAMPLING_TOLERANCE_S


@dataclass(frozen=True, slots=True, eq=False)
class VideoTimes:
    """Presentation times (N,) of all frames in seconds of the container's clock, strictly increasing, and what the
    container says about itself.
    """

    media_time_s: np.ndarray
    info: VideoInfo


def read_video_times(path: Path) -> VideoTimes:
    """Return the times of the frames that the main video stream promises.

    The whole file is read once, at the speed of the disk. Raises InputError or VideoError for what is no video.
    """
    info = probe_video(path)
    options = {"protocol_whitelist": PROTOCOL_WHITELIST, "format_whitelist": FORMAT_WHITELIST}
    ticks = set()
    try:
        with av.open(file_url(path), options=options, metadata_errors="replace") as container:
            for packet in container.demux(container.streams.video[info.video_stream]):
                # A packet that an edit list cuts away is decoded but never shown.
                if packet.pts is not None and not packet.is_discard:
                    ticks.add(packet.pts)
    except av.error.FFmpegError as error:
        raise VideoError(f"{path}: cannot be read to its end ({error.strerror}); it may be damaged") from error
    times_s = np.array([_seconds(tick, info.time_base) for tick in sorted(ticks)], dtype=np.float64)
    return VideoTimes(times_s, info)


def sampled_frames(media_time_s: np.ndarray, sampling_fps: float | None) -> np.ndarray:
    """Return the indices (K,) of the frames that ``VideoDecoder`` takes at a sampling rate: the first one at or after
    each multiple of 1/fps s from the first frame. None takes every frame.
    """
    if sampling_fps is None or len(media_time_s) == 0:
        return np.arange(len(media_time_s))
    tolerance_s = min(SAMPLING_TOLERANCE_S, 0.1 / sampling_fps)
    step = np.floor((media_time_s - media_time_s[0] + tolerance_s) * sampling_fps)
    return np.flatnonzero(np.diff(step, prepend=-1.0) > 0.0)


def _seconds(tick: int, time_base: Fraction) -> float:
    # The same arithmetic as the decoder's, so that the same frame has the same time to the last bit.
    return float(tick * time_base)
