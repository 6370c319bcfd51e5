"""The pipes of a decoding ffmpeg, read in one thread: pixels, times, complaints and, to find cuts, thumbnails.

Pixels are read straight into blocks of several frames, so that consecutive frames lie next to each other in memory and
a batch of them is a view.
"""

from __future__ import annotations

import os
import queue
import re
import selectors
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import IO

import numpy as np

from vidtag_cli.video.cuts import CutFinder
from vidtag_cli.video.decode_command import DECODED_MARK, THUMBNAIL_WH, TIMES_KEY, USED_MARK
from vidtag_cli.video.decoder_log import DecoderLog
from vidtag_cli.video.ffmpeg import ffmpeg_environment

QUEUED_FRAMES = 16
"""How far the decoder may run ahead of the model at least: at 224 x 224 this is 2.4 MB."""

QUEUED_BATCHES = 2
"""Enough that the decoder fills one batch while the model works on another."""

_CHUNK_BYTES = 1 << 16
_MAX_FRAMES_WITHOUT_TIME = 64
_PUT_RETRY_S = 0.2
_TIMES_INTERVAL_S = 0.02
"""Times and thumbnails are looked at when pixels arrive and this often in between. ffmpeg writes two lines for every
decoded frame, in use or not; waking up for each of them would cost a percent of the decoding.
"""
_EXIT_PATIENCE_S = 10.0
_PTS_LINE = re.compile(rb"frame:\s*\d+\s+pts:\s*(\S+)")
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
    piles up. ``take`` hands out the frames in order and None after the last; ``close`` may come at any time.
    ``argv_for`` makes the command from the descriptors for times and, to ``find_cuts``, for thumbnails; ffmpeg
    inherits ``inherited_fds`` too.
    """

    def __init__(
        self,
        argv_for: Callable[..., list[str]],
        size_wh: tuple[int, int],
        log: DecoderLog,
        block_frames: int = 1,
        find_cuts: bool = False,
        inherited_fds: Sequence[int] = (),
    ) -> None:
        self._log = log
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
        self._process, self._polled_fds = _start(argv_for, 2 if find_cuts else 1, inherited_fds)
        self._thread = threading.Thread(target=self._pump, name="ffmpeg-pipes", daemon=True)
        self._thread.start()

    def take(self) -> PipedFrame | None:
        """Return the next frame, or None after the last one. Raises whatever stopped the reading."""
        frame = self._queue.get()
        if frame is None and self._failure is not None:
            raise self._failure
        return frame

    def exit_status(self) -> int:
        """Return how ffmpeg ended, negative for a signal; to be asked after the last frame."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(_EXIT_PATIENCE_S)
        self._kill()  # it has closed its pipes, so it has no more to give
        return self._process.wait()

    def close(self) -> None:
        """End ffmpeg if it still runs, reap it, end the thread and close the pipes. Doing so twice does no harm."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._kill()
        self._process.wait()
        self._thread.join()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        _close(self._polled_fds)

    def _kill(self) -> None:
        """End ffmpeg and whatever a wrapper script around it started."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _pump(self) -> None:
        try:
            self._read_pipes()
            if self._complete or self._times:
                raise ValueError(
                    f"{len(self._complete)} frames of ffmpeg without a time, {len(self._times)} without pixels"
                )
        except (OSError, ValueError, MemoryError) as error:
            self._failure = error  # raised again where the frames are taken
        if self._pixels_filled:
            self._log.add(f"the last frame is incomplete ({self._pixels_filled} of {self._pixels.nbytes} bytes)")
        self._log.finish()
        self._put(None)

    def _read_pipes(self) -> None:
        readers: dict[int, Callable[[int], bool]] = {
            _descriptor(self._process.stdout): self._read_pixels,
            _descriptor(self._process.stderr): self._read_complaints,
        }
        polled = dict(zip(self._polled_fds, (self._read_times, self._read_thumbnails), strict=False))
        if len(polled) == 1:
            self._cuts.finish()  # without thumbnails all is one shot
        for descriptor in polled:
            os.set_blocking(descriptor, False)
        with selectors.DefaultSelector() as selector:
            for descriptor, reader in readers.items():
                selector.register(descriptor, selectors.EVENT_READ, reader)
            while (selector.get_map() or polled) and not self._stopping.is_set():
                for key, _ in selector.select(_TIMES_INTERVAL_S):
                    is_open = key.data(key.fd)
                    if not is_open:
                        selector.unregister(key.fd)
                polled = {descriptor: reader for descriptor, reader in polled.items() if _poll(descriptor, reader)}
                self._pair()

    def _read_pixels(self, descriptor: int) -> bool:
        rest = self._pixels.data.cast("B")[self._pixels_filled :]
        count = os.readv(descriptor, [rest])
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
        chunk = os.read(descriptor, _CHUNK_BYTES)
        if not chunk:
            self._cuts.finish()
        width_px, height_px = THUMBNAIL_WH
        data = self._unfinished_thumbnail + chunk
        complete = len(data) - len(data) % (width_px * height_px)
        self._unfinished_thumbnail = data[complete:]
        self._cuts.add(np.frombuffer(data[:complete], np.uint8).reshape(-1, height_px, width_px))
        return bool(chunk)

    def _read_times(self, descriptor: int) -> bool:
        chunk = os.read(descriptor, _CHUNK_BYTES)
        *lines, self._unfinished_line = (self._unfinished_line + chunk).split(b"\n")
        for line in lines:
            self._read_times_line(line)
        return bool(chunk)

    def _read_times_line(self, line: bytes) -> None:
        stated = _PTS_LINE.match(line)
        if stated is not None:
            self._stated_pts = None if stated[1] == _NO_PTS else int(stated[1])
        elif line == _DECODED_LINE:
            self._log.add_frame(self._stated_pts)
        elif line == _USED_LINE:
            self._times.append((self._log.frames_decoded - 1, self._stated_pts))
        else:
            raise ValueError(f"ffmpeg reported the time of a frame as {line!r}")

    def _read_complaints(self, descriptor: int) -> bool:
        chunk = os.read(descriptor, _CHUNK_BYTES)
        self._log.add_output(chunk)
        return bool(chunk)

    def _pair(self) -> None:
        """Queue the frames whose pixels and time have both arrived and whose shot is known."""
        while self._complete and self._times:
            shot = self._cuts.shot_of(self._times[0][0])
            if shot is None:
                break
            self._put((*self._times.popleft(), shot, self._complete.popleft()))
        if len(self._complete) > _MAX_FRAMES_WITHOUT_TIME:
            raise ValueError("ffmpeg delivers frames without times")

    def _put(self, frame: PipedFrame | None) -> None:
        while not self._stopping.is_set():
            with suppress(queue.Full):
                self._queue.put(frame, timeout=_PUT_RETRY_S)
                return


def _poll(descriptor: int, reader: Callable[[int], bool]) -> bool:
    """Let a reader take what has come since the last look, and return whether more may come."""
    with suppress(BlockingIOError):
        return reader(descriptor)
    return True


def _start(
    argv_for: Callable[..., list[str]], pipes: int, inherited_fds: Sequence[int]
) -> tuple[subprocess.Popen[bytes], list[int]]:
    """Return the started process and the ends to read of so many pipes, whose other ends its command names."""
    read_fds, write_fds = zip(*(os.pipe() for _ in range(pipes)), strict=True)
    try:
        process = subprocess.Popen(
            argv_for(*write_fds),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            pass_fds=(*write_fds, *inherited_fds),
            env=ffmpeg_environment(),
            process_group=0,  # Ctrl-C in the terminal is for this program, which then ends ffmpeg itself
        )
    except BaseException:
        _close(read_fds)
        raise
    finally:
        _close(write_fds)
    return process, list(read_fds)


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _descriptor(stream: IO[bytes] | None) -> int:
    if stream is None:
        raise ValueError("ffmpeg was started without a pipe")
    return stream.fileno()
