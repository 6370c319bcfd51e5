"""The pipes of a decoding ffmpeg, read in one thread: pixels, times, complaints and, to find cuts, thumbnails.

Pixels are read straight into blocks of several frames, so that consecutive frames lie next to each other in memory and
a batch of them is a view.
"""

from __future__ import annotations

import os
import queue
import re
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NoReturn

import numpy as np

from vidtag_cli.errors import ModelError, VidtagError
from vidtag_cli.video.cuts import CutFinder
from vidtag_cli.video.decode_command import DECODED_MARK, THUMBNAIL_WH, TIMES_KEY, USED_MARK
from vidtag_cli.video.decoder_log import DecoderLog
from vidtag_cli.video.decoder_process import DecoderProcess
from vidtag_cli.video.limits import DEFAULT_LIMITS, DecodeLimits

QUEUED_FRAMES = 16
"""How far the decoder may run ahead of the model at least: at 224 x 224 this is 2.4 MB."""

QUEUED_BATCHES = 2
"""Enough that the decoder fills one batch while the model works on another."""

_CHUNK_BYTES = 1 << 16
_MAX_FRAMES_WITHOUT_TIME = 64
_MAX_LINE_BYTES = 1 << 16
_MAX_QUOTED_BYTES = 80
_MAX_PTS = 1 << 62
"""Presentation times are integers of 64 bits; this much room is left to compute with them."""
_RETRY_S = 0.2
_TIMES_INTERVAL_S = 0.02
"""Times and thumbnails are looked at when pixels arrive and this often in between. ffmpeg writes two lines for every
decoded frame, in use or not; waking up for each of them would cost a percent of the decoding.
"""
_LONGEST_PAUSE_S = 1.0
"""What counts as silence of ffmpeg between two looks at its pipes: all that is longer is a pause of this process, which
may have been stopped together with ffmpeg.
"""
_PTS_LINE = re.compile(rb"frame:\s*\d+\s+pts:\s*(-?\d{1,19}|NOPTS)(?:\s|$)")
_NO_PTS = b"NOPTS"
_DECODED_LINE = f"{TIMES_KEY}={DECODED_MARK}".encode()
_USED_LINE = f"{TIMES_KEY}={USED_MARK}".encode()

PipedFrame = tuple[int, int | None, int, np.ndarray]
"""Number among the decoded frames, presentation time in ticks of the time base, number of the shot, pixels (H, W, 3)
uint8: a view of a block of frames.
"""


class FramePipe:
    """A running ffmpeg and the bounded queue of what it has delivered.

    One thread waits on all pipes at once and stops reading when the queue is full, so ffmpeg stops too and nothing
    piles up. ``take`` hands out the frames in order and None after the last or once closed; ``close`` may come at any
    time and from any thread. ``argv_for`` makes the command from the descriptors for times and, to ``find_cuts``, for
    thumbnails; ffmpeg inherits ``inherited_fds`` too and may take ``memory_bytes`` of address space, 0 for no limit.
    An ffmpeg that says nothing for ``limits.stall_timeout_s``, or nonsense, is ended, and ``take`` raises ModelError.
    """

    def __init__(
        self,
        argv_for: Callable[..., list[str]],
        size_wh: tuple[int, int],
        log: DecoderLog,
        block_frames: int = 1,
        find_cuts: bool = False,
        inherited_fds: Sequence[int] = (),
        limits: DecodeLimits = DEFAULT_LIMITS,
        memory_bytes: int = 0,
    ) -> None:
        self._log = log
        self._limits = limits
        self._silent_s = 0.0
        self._block_shape = (block_frames, size_wh[1], size_wh[0], 3)
        self._queue: queue.Queue[PipedFrame | None] = queue.Queue(max(QUEUED_FRAMES, QUEUED_BATCHES * block_frames))
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._slots: Iterator[np.ndarray] = iter(())
        self._pixels = self._next_slot()
        self._pixels_filled = 0
        self._complete: deque[np.ndarray] = deque()
        self._times: deque[tuple[int, int | None]] = deque()
        self._unfinished_line = b""
        self._stated_pts: int | None = None
        self._cuts = CutFinder()
        self._unfinished_thumbnail = b""
        self._closing = threading.Lock()
        self._is_closed = False
        self._process = DecoderProcess(argv_for, 2 if find_cuts else 1, memory_bytes, inherited_fds)
        self._thread = threading.Thread(target=self._pump, name="ffmpeg-pipes", daemon=True)
        self._thread.start()

    def take(self) -> PipedFrame | None:
        """Return the next frame, or None after the last one. Raises whatever stopped the reading."""
        while not self._stopping.is_set():
            with suppress(queue.Empty):
                frame = self._queue.get(timeout=_RETRY_S)
                if frame is None and self._failure is not None:
                    raise self._failure
                return frame
        return None

    def exit_status(self) -> int | None:
        """Return how ffmpeg ended, negative for a signal; None while it runs."""
        return self._process.status

    @property
    def program(self) -> str:
        """The path of the ffmpeg that runs."""
        return self._process.program

    def close(self) -> None:
        """End ffmpeg if it still runs, reap it, end the thread and close the pipes. Doing so twice does no harm."""
        self._stopping.set()
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            self._process.kill()
            self._thread.join()
            self._process.close()

    def _pump(self) -> None:
        try:
            self._read_pipes()
            self._wait_for_the_end()
            if self._process.status == 0 and (self._complete or self._times) and not self._stopping.is_set():
                self._refuse(f"gave {len(self._complete)} frames without a time and {len(self._times)} without pixels")
        except (OSError, ValueError, VidtagError, MemoryError) as error:
            self._failure = error  # raised again where the frames are taken
            self._process.kill()
        if self._pixels_filled:
            self._log.add(f"the last frame is incomplete ({self._pixels_filled} of {self._pixels.nbytes} bytes)")
        self._log.finish()
        self._put(None)

    def _read_pipes(self) -> None:
        readers: dict[int, Callable[[int], bool]] = {
            self._process.pixels_fd: self._read_pixels,
            self._process.complaints_fd: self._read_complaints,
        }
        polled = dict(zip(self._process.polled_fds, (self._read_times, self._read_thumbnails), strict=False))
        if len(polled) == 1:
            self._cuts.finish()  # without thumbnails all is one shot
        for descriptor in polled:
            os.set_blocking(descriptor, False)
        with selectors.DefaultSelector() as selector:
            for descriptor, reader in readers.items():
                selector.register(descriptor, selectors.EVENT_READ, reader)
            while (selector.get_map() or polled) and not self._stopping.is_set():
                begin_s = time.monotonic()
                for key, _ in selector.select(_TIMES_INTERVAL_S):
                    is_open = key.data(key.fd)
                    if not is_open:
                        selector.unregister(key.fd)
                polled = {descriptor: reader for descriptor, reader in polled.items() if _poll(descriptor, reader)}
                self._check_silence(time.monotonic() - begin_s)
                self._pair()

    def _wait_for_the_end(self) -> None:
        while self._process.wait(_RETRY_S) is None and not self._stopping.is_set():
            self._check_silence(_RETRY_S)

    def _check_silence(self, pause_s: float) -> None:
        """Raise ModelError when ffmpeg has said nothing for too long; time in which nobody read it does not count."""
        self._silent_s += min(pause_s, _LONGEST_PAUSE_S)
        if self._silent_s >= self._limits.stall_timeout_s:
            raise ModelError(
                f"{self.program} has stalled: it gave nothing for {self._limits.stall_timeout_s:g} s and was ended; "
                "a slow disk or a slow video may need a longer --stall-timeout"
            )

    def _refuse(self, what: str) -> NoReturn:
        raise ModelError(
            f"{self.program} {what}: it does not do what ffmpeg does, or is damaged; name another with $VIDTAG_FFMPEG"
        )

    def _read_pixels(self, descriptor: int) -> bool:
        rest = self._pixels.data.cast("B")[self._pixels_filled :]
        count = os.readv(descriptor, [rest])
        self._heard(count)
        self._pixels_filled += count
        if self._pixels_filled == self._pixels.nbytes:
            self._complete.append(self._pixels)
            self._pixels = self._next_slot()
            self._pixels_filled = 0
        return count > 0

    def _next_slot(self) -> np.ndarray:
        """Return where the next frame goes: the next place of the block, which lives as long as a frame in it."""
        slot = next(self._slots, None)
        if slot is None:
            self._slots = iter(np.empty(self._block_shape, np.uint8))
            slot = next(self._slots)
        return slot

    def _read_thumbnails(self, descriptor: int) -> bool:
        chunk = self._read(descriptor)
        if not chunk:
            self._cuts.finish()
        width_px, height_px = THUMBNAIL_WH
        data = self._unfinished_thumbnail + chunk
        complete = len(data) - len(data) % (width_px * height_px)
        self._unfinished_thumbnail = data[complete:]
        self._cuts.add(np.frombuffer(data[:complete], np.uint8).reshape(-1, height_px, width_px))
        return bool(chunk)

    def _read_times(self, descriptor: int) -> bool:
        chunk = self._read(descriptor)
        *lines, self._unfinished_line = (self._unfinished_line + chunk).split(b"\n")
        for line in lines:
            self._read_times_line(line)
        if len(self._unfinished_line) > _MAX_LINE_BYTES:
            self._refuse("reported the time of a frame without an end")
        return bool(chunk)

    def _read_times_line(self, line: bytes) -> None:
        stated = _PTS_LINE.match(line)
        if stated is not None:
            self._stated_pts = None if stated[1] == _NO_PTS else int(stated[1])
            if self._stated_pts is not None and abs(self._stated_pts) > _MAX_PTS:
                self._refuse(f"reported the time of a frame as {self._stated_pts}")
        elif line == _DECODED_LINE:
            self._log.add_frame(self._stated_pts)
        elif line == _USED_LINE:
            self._times.append((self._log.frames_decoded - 1, self._stated_pts))
        else:
            self._refuse(f"reported the time of a frame as {line[:_MAX_QUOTED_BYTES]!r}")

    def _read_complaints(self, descriptor: int) -> bool:
        chunk = self._read(descriptor)
        self._log.add_output(chunk)
        return bool(chunk)

    def _read(self, descriptor: int) -> bytes:
        chunk = os.read(descriptor, _CHUNK_BYTES)
        self._heard(len(chunk))
        return chunk

    def _heard(self, count: int) -> None:
        if count:
            self._silent_s = 0.0

    def _pair(self) -> None:
        """Queue the frames whose pixels and time have both arrived and whose shot is known."""
        while self._complete and self._times:
            shot = self._cuts.shot_of(self._times[0][0])
            if shot is None:
                break
            self._put((*self._times.popleft(), shot, self._complete.popleft()))
        if len(self._complete) > _MAX_FRAMES_WITHOUT_TIME:
            self._refuse("delivers frames without times")

    def _put(self, frame: PipedFrame | None) -> None:
        while not self._stopping.is_set():
            with suppress(queue.Full):
                self._queue.put(frame, timeout=_RETRY_S)
                return


def _poll(descriptor: int, reader: Callable[[int], bool]) -> bool:
    """Let a reader take what has come since the last look, and return whether more may come."""
    with suppress(BlockingIOError):
        return reader(descriptor)
    return True
