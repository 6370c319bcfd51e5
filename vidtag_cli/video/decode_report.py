"""What a finished decoding says about its input: whether all of it was there, and what was done about its times."""

from __future__ import annotations

from dataclasses import dataclass

from vidtag_cli.video.info import VideoInfo

_SAFE_SHORTFALL_S = 2.0
_SAFE_SHORTFALL_SHARE = 0.02
"""The duration of a container is often that of its sound, and rounded."""


@dataclass(frozen=True, slots=True)
class DecodeReport:
    """How many frames were decoded and used; the end of the last frame and the end that the container promises, in
    seconds, None where it promises none; and in words what of the input is missing or damaged, and what a user should
    know besides.
    """

    frames_decoded: int
    frames_used: int
    media_end_s: float | None
    promised_end_s: float | None
    missing: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether nothing is known to be missing or damaged."""
        return not self.missing


def make_report(
    info: VideoInfo, frames_decoded: int, frames_used: int, media_end_s: float | None, error_count: int
) -> DecodeReport:
    """Return the report of a decoding that came to its end."""
    promised_s = None if info.duration_s is None else (info.start_time_s or 0.0) + info.duration_s
    missing = []
    if promised_s is not None and media_end_s is not None:
        shortfall_s = promised_s - media_end_s
        if shortfall_s > max(_SAFE_SHORTFALL_S, _SAFE_SHORTFALL_SHARE * (info.duration_s or 0.0)):
            missing.append(f"the pictures end at {media_end_s:.2f} s, the container says {promised_s:.2f} s")
    if error_count:
        missing.append(f"the decoder reported {error_count} errors")
    return DecodeReport(frames_decoded, frames_used, media_end_s, promised_s, tuple(missing))
