"""What one decoding run leaves behind: how many frames there were and what the decoder complained about."""

from __future__ import annotations

import re
from collections import deque

_KEPT_LINES = 20
_MAX_LINE_BYTES = 500
_ADDRESS = re.compile(r" @ 0x[0-9a-fA-F]+")
_ABOUT_THE_OUTPUT = b"non monotonically increasing dts to muxer"
"""Said of raw frames on a pipe, which have no times, when a picture changes its size on the way: nothing is lost."""


class DecoderLog:
    """The count of decoded frames and the error lines, at most 20 from the start and 20 from the end.

    Frames whose time does not follow the one before are one line more, unless times are not expected to rise.

    Addresses in memory are left out of the lines, so that the same file gives the same lines tomorrow.
    """

    def __init__(self, expects_rising_times: bool = True) -> None:
        self._expects_rising_times = expects_rising_times
        self.frames_decoded = 0
        self.error_count = 0
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=_KEPT_LINES)
        self._unfinished = b""
        self._previous_pts: int | None = None
        self._misplaced = 0

    @property
    def lines(self) -> tuple[str, ...]:
        """The kept lines, in order."""
        return (*self._first, *self._last)

    def add(self, line: str) -> None:
        """Count a line and keep it if it is among the first or, for now, the last."""
        self.error_count += 1
        (self._first if len(self._first) < _KEPT_LINES else self._last).append(_ADDRESS.sub("", line))

    def add_output(self, chunk: bytes) -> None:
        """Take a piece of the decoder's standard error, cut anywhere."""
        *lines, unfinished = (self._unfinished + chunk).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._add_bytes(line)
        self._unfinished = unfinished[:_MAX_LINE_BYTES]

    def add_frame(self, pts: int | None) -> None:
        """Count a decoded frame and note whether its time follows that of the frame before."""
        self.frames_decoded += 1
        if pts is None or (self._previous_pts is not None and pts <= self._previous_pts):
            self._misplaced += 1
        else:
            self._previous_pts = pts

    def finish(self) -> None:
        """Add what was left open: an unfinished line, and the sum of the frames with unusable times."""
        self._add_bytes(self._unfinished)
        self._unfinished = b""
        if self._misplaced and self._expects_rising_times:
            self.add(f"{self._misplaced} decoded frames have a time that does not follow the one before: not used")

    def _add_bytes(self, line: bytes) -> None:
        text = line[:_MAX_LINE_BYTES].decode(errors="replace").strip()
        if text and _ABOUT_THE_OUTPUT not in line:
            self.add(text)
