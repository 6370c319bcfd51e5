"""What a finished decoding says about its input: whether all of it was there, and what was done about its times."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from vidtag_cli.video.info import VideoInfo
from vidtag_cli.video.packets import Packets

_PROMISING_FORMATS = frozenset({"mov", "matroska", "avi", "flv", "asf", "mxf", "gxf", "rm", "nut"})
"""Containers whose header states a duration; that of the others is only guessed from the end that is there."""

_SAFE_SHORTFALL_S = 2.0
_SAFE_SHORTFALL_SHARE = 0.02
"""The duration of a container is often that of its sound, and rounded."""

_SAFE_LOST_FRAMES = 3
_SAFE_LOST_SHARE = 0.02
_CODECS_WITH_HIDDEN_PACKETS = frozenset({"vp8", "vp9", "mpeg4", "theora", "msmpeg4v3", "msmpeg4v2", "rv40", "rv30"})
"""Not every packet of theirs is a picture: some are never shown, some say that nothing has changed."""


@dataclass(frozen=True, slots=True)
class DecodeReport:
    """How many frames were decoded and used; the end of the last frame and the end that the container promises, in
    seconds, None where it promises none; in words what of the input is missing or damaged, and what a user should know
    besides; how many frames the file holds by its packets, and how many times its clock started again.
    """

    frames_decoded: int
    frames_used: int
    media_end_s: float | None
    promised_end_s: float | None
    missing: tuple[str, ...]
    notes: tuple[str, ...] = ()
    frames_in_file: int = 0
    restarts: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether nothing is known to be missing or damaged."""
        return not self.missing


def make_report(
    info: VideoInfo,
    packets: Packets,
    frames_decoded: int,
    frames_used: int,
    error_count: int,
    is_every_frame_decoded: bool,
) -> DecodeReport:
    """Return the report of a decoding that came to its end. ``is_every_frame_decoded`` is False for sparse modes."""
    end_pts = packets.parts[-1].last_pts + packets.parts[-1].offset if packets.starts_again else packets.end_pts
    end_s = None if end_pts is None else float(end_pts * info.time_base)
    promised_s = _promised_end_s(info)
    restarts = sum(not part.is_continued for part in packets.parts[1:])
    missing = []
    if info.missing_bytes:
        missing.append(f"the file ends {info.missing_bytes:,} bytes too early by its own account")
    if promised_s is not None and end_s is not None and not restarts and _is_short(info, promised_s - end_s):
        missing.append(f"the pictures end at {end_s:.2f} s, the container says {promised_s:.2f} s")
    if _is_mov(info) and info.frame_count is not None and packets.read < info.frame_count:
        missing.append(f"{info.frame_count - packets.read} of {info.frame_count} frames are not in the file")
    lost = packets.count - frames_decoded
    if is_every_frame_decoded and _are_lost(info, packets, lost):
        missing.append(f"{lost} of {packets.count} frames could not be decoded")
    if packets.error is not None:
        missing.append(f"the file could not be read to its end ({packets.error})")
    if packets.damaged:
        missing.append(f"{packets.damaged} frames are marked as damaged in the container")
    if error_count:
        missing.append(f"the decoder reported {error_count} errors")
    return DecodeReport(
        frames_decoded, frames_used, end_s, promised_s, tuple(missing), _notes(info, packets), packets.count, restarts
    )


def _notes(info: VideoInfo, packets: Packets) -> tuple[str, ...]:
    kinds = Counter(part.is_continued for part in packets.parts[1:])
    notes = [] if info.stream_choice is None else [info.stream_choice]
    if kinds[False]:
        notes.append(
            f"its times start again ({kinds[False]} times): the parts were put behind each other, each a shot of its "
            "own, and times after the first part are not those in the file"
        )
    if kinds[True]:
        notes.append(f"its clock reached the end of its range ({kinds[True]} times): times were counted on")
    return tuple(notes)


def _promised_end_s(info: VideoInfo) -> float | None:
    if info.duration_s is None or _PROMISING_FORMATS.isdisjoint(info.container_format.split(",")):
        return None
    return (info.start_time_s or 0.0) + info.duration_s if _is_mov(info) else info.origin_s + info.duration_s


def _is_short(info: VideoInfo, shortfall_s: float) -> bool:
    return shortfall_s > max(_SAFE_SHORTFALL_S, _SAFE_SHORTFALL_SHARE * (info.duration_s or 0.0))


def _are_lost(info: VideoInfo, packets: Packets, lost: int) -> bool:
    if info.codec in _CODECS_WITH_HIDDEN_PACKETS:
        return False
    is_field_coded = abs(packets.count - 2 * (packets.count - lost)) <= _SAFE_LOST_FRAMES
    return lost > max(_SAFE_LOST_FRAMES, _SAFE_LOST_SHARE * packets.count) and not is_field_coded


def _is_mov(info: VideoInfo) -> bool:
    return "mov" in info.container_format.split(",")
