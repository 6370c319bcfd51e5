"""Whether frames that are decoded without those before them can be told apart: by times that the container states."""

from __future__ import annotations

from pathlib import Path

import av
import av.error
import numpy as np

from vidtag_cli.errors import VideoError
from vidtag_cli.video.containers import CONTAINER_OPTIONS, file_url
from vidtag_cli.video.info import VideoInfo
from vidtag_cli.video.packets import Packets

_FORMATS_WITHOUT_TIMES = frozenset({"avi", "dhav", "mpeg"})
"""Those of MPEG programme streams, VOB among them, have a time for some frames only."""

_PACKETS_COMPARED = 100


def check_frames_can_be_told(path: Path, info: VideoInfo, packets: Packets) -> None:
    """Raise VideoError unless each frame of a video can be told by its own presentation time.

    Only then are the number and the time of a frame known without decoding all before it.
    """
    reason = _reason_against(info, packets)
    if reason is None and not packets.are_all_key_frames and not _do_packets_state_frames(info, packets):
        reason = "the times of its packets are not those of its frames"
    if reason is not None:
        raise VideoError(
            f"{path}: {reason}, so a frame decoded without those before it has no certain time and number: "
            "use --decode exact"
        )


def _reason_against(info: VideoInfo, packets: Packets) -> str | None:
    if packets.error is not None:
        return f"its packets cannot be read to the end ({packets.error})"
    if packets.starts_again:
        return "its times start again on the way"
    if packets.without_time:
        return f"{packets.without_time} of {packets.count} frames have no presentation time in the container"
    if len(np.unique(packets.pts)) < len(packets.pts):
        return "several of its frames have one time"
    is_timed = _FORMATS_WITHOUT_TIMES.isdisjoint(info.container_format.split(","))
    if not is_timed and not packets.are_all_key_frames:
        return f"its container ({info.container_format}) does not state the time of every frame"
    return None


def _do_packets_state_frames(info: VideoInfo, packets: Packets) -> bool:
    """Return whether the first frames, all decoded, come in the order of the packets' times and at those very times."""
    times: list[int | None] = []
    try:
        address = file_url(info.path, info.descriptor)
        with av.open(address, options=CONTAINER_OPTIONS, metadata_errors="replace") as container:
            stream = container.streams.video[info.video_stream]
            for number, packet in enumerate(container.demux(stream)):
                if number == _PACKETS_COMPARED:
                    break
                try:
                    times += [frame.pts for frame in packet.decode()]
                except av.error.FFmpegError:
                    continue  # the decoder itself will report it
    except av.error.FFmpegError:
        return False
    stated = [time for time in times if time is not None]
    if len(stated) < len(times) or stated != sorted(set(stated)):
        return False
    if not stated:
        return True  # nothing to compare; every frame's time is still looked up among those of the packets
    between = packets.pts[(packets.pts >= stated[0]) & (packets.pts <= stated[-1])]
    return stated == between.tolist()
