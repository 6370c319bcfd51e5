"""Frames of a video at the size and the times the model wants, and the true presentation time of each.

This is the only place where frames are turned, cropped, scaled and converted to RGB: training and location see the same
pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import NoReturn, get_args

import numpy as np

from vidtag_cli.errors import ModelError, UsageError, VideoError
from vidtag_cli.video.borders import NO_BORDERS, Borders
from vidtag_cli.video.bridging import TimeBridge
from vidtag_cli.video.containers import file_url
from vidtag_cli.video.decode_command import DecodeDevice, DecodeMode, Resize, decode_argv, hardware_options
from vidtag_cli.video.decode_report import DecodeReport, make_report
from vidtag_cli.video.decoder_log import DecoderLog
from vidtag_cli.video.ffmpeg import find_ffmpeg
from vidtag_cli.video.frame_pipe import FramePipe, PipedFrame
from vidtag_cli.video.info import VideoInfo
from vidtag_cli.video.limits import DEFAULT_LIMITS, DecodeLimits
from vidtag_cli.video.packets import WRAP_TICKS, Packets, is_wrapping, read_packets
from vidtag_cli.video.sampling import SamplingGrid
from vidtag_cli.video.source import opened_file
from vidtag_cli.video.sparse import check_frames_can_be_told

_QUOTED_LINES = 2
_PLAUSIBLE_SLACK_S = 60
"""Decoders give a frame the time of its packet or, where it has none, one that follows; never one minutes away."""

_CODECS_WITHOUT_OTHERS = frozenset({"mpeg1video", "mpeg2video", "mpeg4"})
"""Their decoders, asked for key frames, give those that the container marks and no other."""

_STATUSES_OF_DAMAGED_INPUT = frozenset({0, 69, 183})
"""How ffmpeg ends when it has read all of a file: 69 for too many errors on the way, 183 for data that are none."""


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no single answer to ==
class Frame:
    """One frame in use: its number among those in use, its presentation time, and its pixels (H, W, 3) uint8 RGB.

    ``source_index`` is its number among all frames of the video, from 0, in order of presentation, and ``shot`` that
    of its shot: of an edited video, the number of cuts before it.
    """

    index: int
    media_time_s: float
    rgb: np.ndarray
    source_index: int
    shot: int = 0


class VideoDecoder:
    """The frames of one video in order of time, read once, in bounded memory whatever the video's length.

    ``sampling_fps`` None takes every frame; else the first one at or after each multiple of 1/fps s, counted from the
    first frame; none is ever repeated. ``squash`` scales the upright picture to the size whatever its shape;
    ``center_crop`` first cuts it to that shape; ``borders`` are cut away before either. Times are the container's own,
    need not start at 0, and strictly increase.

    ``mode`` limits what is decoded, and the rule above then chooses among those frames: ``fast`` leaves out frames that
    no other needs, ``keyframes`` takes key frames only, so that steps shorter than their distance stay empty. Times and
    numbers are those of the frame used in every mode. ``device`` cuda decodes on the graphics card or raises
    ModelError; the CPU never takes its place. ``block_frames`` consecutive frames share one array, see
    ``frame_batches``. With ``find_cuts`` every decoded frame is compared with the one before, see ``CutFinder``, and
    frames know their shot; key frames alone are too far apart for that.

    Times that start again on the way, as of joined recordings, are bridged: each part follows the one before it and is
    a shot of its own. Parts and all that was missing or damaged are in ``report`` after the last frame.

    Iterating raises VideoError if not one frame can be decoded, if the video is beyond ``limits`` or if its frames
    cannot be told apart in a sparse mode; ModelError if there is no usable ffmpeg, or if it stalls, is killed or gives
    nonsense: then no frame that came before may be used. What else goes wrong does not end the work: it is in
    ``errors``, complete after the last frame. Leaving the ``with`` block or the loop, or ``close`` from any thread,
    ends ffmpeg.
    """

    def __init__(
        self,
        path: Path,
        info: VideoInfo,
        size_wh: tuple[int, int],
        sampling_fps: float | None = None,
        resize: Resize = "squash",
        threads: int = 1,
        mode: DecodeMode = "exact",
        device: DecodeDevice = "cpu",
        block_frames: int = 1,
        find_cuts: bool = False,
        limits: DecodeLimits = DEFAULT_LIMITS,
        borders: Borders = NO_BORDERS,
    ) -> None:
        if sampling_fps is not None and not (math.isfinite(sampling_fps) and sampling_fps > 0.0):
            raise UsageError(f"sampling rate {sampling_fps} is not a positive number of frames per second")
        if min(*size_wh, threads, block_frames) < 1:
            raise ValueError(f"size {size_wh}, threads {threads} or block of {block_frames} frames is out of range")
        hardware_options(device)  # an unknown device is refused here, and not when frames are read
        for value, choices in ((resize, Resize), (mode, DecodeMode)):
            if value not in get_args(choices):
                raise ValueError(f"{value!r} is out of range: it is one of {', '.join(get_args(choices))}")
        if find_cuts and mode == "keyframes":
            raise UsageError(
                "key frames are too far apart to find cuts between them: decode more, or take the whole "
                "video for one shot"
            )
        self._path = path
        self._info = info
        self._size_wh = size_wh
        self._sampling_fps = sampling_fps
        self._resize: Resize = resize
        self._threads = threads
        self._mode: DecodeMode = mode
        self._device: DecodeDevice = device
        self._block_frames = block_frames
        self._find_cuts = find_cuts
        self._limits = limits
        self._borders = borders
        self._log = DecoderLog()
        self._pipe: FramePipe | None = None
        self._opened = ExitStack()
        self._is_closed = False
        self._frames_used = 0
        self._report: DecodeReport | None = None

    def __enter__(self) -> VideoDecoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        if self._pipe is not None or self._is_closed:
            raise ValueError("the frames of a VideoDecoder can be read once; make another one")
        self._info = replace(
            self._info, descriptor=self._opened.enter_context(opened_file(self._path, self._info.descriptor))
        )
        packets = read_packets(self._path, self._info, lambda: self._is_closed)
        self._check_rate(packets)
        if self._mode != "exact":
            check_frames_can_be_told(self._path, self._info, packets)
        self._log = DecoderLog(expects_rising_times=not packets.starts_again)
        frames = self._placed_frames(packets) if packets.starts_again else self._sampled_frames(packets)
        return self._frames(frames, packets)

    def close(self) -> None:
        """End the decoding, wherever it stands."""
        self._is_closed = True
        if self._pipe is not None:
            self._pipe.close()
        self._opened.close()

    @property
    def errors(self) -> tuple[str, ...]:
        """Error lines of the decoder, the first 20 and the last 20, which call the file by its name."""
        address, name = file_url(self._path, self._info.descriptor), f"file:{self._path.name}"
        return tuple(line.replace(address, name) for line in self._log.lines)

    @property
    def error_count(self) -> int:
        """How many error lines there were in all."""
        return self._log.error_count

    @property
    def report(self) -> DecodeReport:
        """What is missing of the input and what was done about its times; known after the last frame."""
        if self._report is None:
            raise ValueError("the report of a VideoDecoder is known after its last frame")
        return self._report

    @property
    def frames_decoded(self) -> int:
        """How many frames the decoder has given so far, in use or not."""
        return self._log.frames_decoded

    @property
    def frames_used(self) -> int:
        """How many frames have been handed out so far."""
        return self._frames_used

    def _start(self, grid: SamplingGrid | None) -> FramePipe:
        def argv_for(times_fd: int, thumbnails_fd: int | None = None) -> list[str]:
            return decode_argv(
                find_ffmpeg(), self._path, self._info, self._size_wh, grid, self._resize, self._threads, times_fd,
                self._mode, self._device, thumbnails_fd, self._limits.decoder_pixels, self._borders,
            )  # fmt: skip

        inherited_fds = () if self._info.descriptor is None else (self._info.descriptor,)
        # A graphics card's driver reserves far more addresses than memory, so that a limit would only break it.
        memory_bytes = self._limits.memory_bytes if self._device == "cpu" else 0
        self._pipe = FramePipe(
            argv_for, self._size_wh, self._log, self._block_frames, self._find_cuts, inherited_fds, self._limits,
            memory_bytes,
        )  # fmt: skip
        if self._is_closed:  # meanwhile, by another thread
            self._pipe.close()
        return self._pipe

    def _grid(self, origin_pts: int) -> SamplingGrid | None:
        if self._sampling_fps is None:
            return None
        return SamplingGrid(self._sampling_fps, origin_pts, self._info.time_base)

    def _sampled_frames(self, packets: Packets) -> Iterator[PipedFrame]:
        """Yield the frames in use of a video whose times rise; ffmpeg leaves out most of the others."""
        grid = self._grid(_expected_origin(self._info, packets, self._mode))
        pipe = self._start(grid)
        first = pipe.take()
        if grid is not None and first is not None and first[1] is not None and first[1] != grid.origin_pts:
            # The first frame that ffmpeg can decode is another one, and steps count from it: once more.
            pipe.close()
            self._log = DecoderLog()
            grid = self._grid(first[1])
            pipe = self._start(grid)
            first = pipe.take()
        latest_pts: int | None = None
        for piped in _from(first, pipe):
            pts = piped[1]
            if pts is None or (latest_pts is not None and pts <= latest_pts):
                continue  # the log has counted it
            latest_pts = pts
            if grid is None or grid.is_used(pts):
                yield piped

    def _placed_frames(self, packets: Packets) -> Iterator[PipedFrame]:
        """Yield the frames in use of a video whose times start again: all are decoded, and chosen once in place."""
        pipe = self._start(None)
        bridge: TimeBridge[PipedFrame] = TimeBridge(packets.parts, is_wrapping(self._info))
        grid: SamplingGrid | None = None
        shot, latest = 0, (0, 0)
        for pts, part, piped in _bridged(bridge, _from(pipe.take(), pipe)):
            grid = grid or self._grid(pts)
            recording = sum(not packets.parts[number].is_continued for number in range(1, part + 1))
            shot += (recording, piped[2]) != latest  # a cut where two parts meet is one and the same
            latest = (recording, piped[2])
            if grid is None or grid.is_used(pts):
                yield piped[0], pts, shot, piped[3]
        if bridge.misplaced:
            self._log.add(f"{bridge.misplaced} decoded frames have a time that fits nowhere: not used")

    def _frames(self, piped_frames: Iterator[PipedFrame], packets: Packets) -> Iterator[Frame]:
        latest_pts: int | None = None
        try:
            for source_index, pts, shot, rgb in piped_frames:
                if pts is None or (latest_pts is not None and pts <= latest_pts):
                    continue
                latest_pts = pts
                self._check_time(pts, packets)
                if self._mode != "exact":
                    source_index = self._number_of(pts, packets)
                frame = Frame(self._frames_used, float(pts * self._info.time_base), rgb, source_index, shot)
                self._frames_used += 1
                yield frame
            if not self._is_closed:
                self._check_end()
                self._report = self._make_report(packets)
        finally:
            self.close()

    def _make_report(self, packets: Packets) -> DecodeReport:
        return make_report(
            self._info, packets, self.frames_decoded, self._frames_used, self.error_count, self._mode == "exact"
        )

    def _check_rate(self, packets: Packets) -> None:
        rate_fps = packets.rate_fps(self._info.time_base)
        if rate_fps is not None and rate_fps > self._limits.max_frame_rate_fps:
            raise VideoError(
                f"{self._path}: has {rate_fps:,.0f} frames a second, more than the limit of "
                f"{self._limits.max_frame_rate_fps:,.0f}: if that is what the camera made, raise --max-frame-rate"
            )

    def _check_time(self, pts: int, packets: Packets) -> None:
        """Raise ModelError for a time that is nowhere near those in the file."""
        if packets.starts_again or packets.without_time or not len(packets.pts) or self._pipe is None:
            return
        slack = int(_PLAUSIBLE_SLACK_S / self._info.time_base)
        periods = (0, WRAP_TICKS, -WRAP_TICKS) if is_wrapping(self._info) else (0,)
        first, last = int(packets.pts[0]) - slack, int(packets.pts[-1]) + slack
        if not any(first <= pts + period <= last for period in periods):
            raise ModelError(
                f"{self._pipe.program} reported a frame at {float(pts * self._info.time_base):g} s, which "
                f"{self._path} does not have: it does not do what ffmpeg does; name another with $VIDTAG_FFMPEG"
            )

    def _number_of(self, pts: int, packets: Packets) -> int:
        """Return the number of the frame with this time among all frames."""
        is_key = self._mode == "keyframes" and self._info.codec in _CODECS_WITHOUT_OTHERS
        stated = packets.key_pts if is_key else packets.pts
        number = int(np.searchsorted(packets.pts, pts))
        at = int(np.searchsorted(stated, pts))
        if at == len(stated) or int(stated[at]) != pts:
            raise VideoError(
                f"{self._path}: no frame is stored for the time {float(pts * self._info.time_base):g} s of a decoded "
                "one, so its number is not certain: use --decode exact"
            )
        return number

    def _check_end(self) -> None:
        status = 0 if self._pipe is None else self._pipe.exit_status() or 0
        reason = "; ".join(self.errors[:_QUOTED_LINES])
        if status < 0 or (self._frames_used and status not in _STATUSES_OF_DAMAGED_INPUT):
            self._raise_for_early_end(status, reason)
        if status != 0:
            self._log.add(f"ffmpeg ended with status {status}")
        if self._frames_used == 0:
            self._check_device(status)
            reason = reason or f"ffmpeg ended with status {status}" if status else reason
            raise VideoError(
                f"{self._path}: no frame could be decoded ({reason or 'the decoder gives no reason'}); check that the "
                "file is whole"
            )

    def _raise_for_early_end(self, status: int, reason: str) -> NoReturn:
        program = "ffmpeg" if self._pipe is None else self._pipe.program
        how = f"was ended by signal {-status}" if status < 0 else f"ended early with status {status}"
        raise ModelError(
            f"{program} {how} while it decoded {self._path}{f' ({reason})' if reason else ''}: nothing of it is used; "
            "if memory was short, free some and try again"
        )

    def _check_device(self, status: int) -> None:
        """Raise ModelError where ffmpeg could not decode on the device that was asked for."""
        if self._device == "cpu" or status == 0:
            return
        reason = "; ".join(self.errors[:_QUOTED_LINES]) or "it gives no reason"
        raise ModelError(
            f"{self._path}: ffmpeg cannot decode {self._info.codec} {self._info.pixel_format} on {self._device} here "
            f"({reason}); nothing was decoded on the CPU instead: leave --decode-device out for that"
        )


def _expected_origin(info: VideoInfo, packets: Packets, mode: DecodeMode) -> int:
    """Return the time at which the first decoded frame is expected, in ticks."""
    if mode == "exact" and info.first_frame_pts is not None:
        return info.first_frame_pts
    times = packets.key_pts if mode == "keyframes" and len(packets.key_pts) else packets.pts
    return int(times[0]) if len(times) else 0


def _from(first: PipedFrame | None, pipe: FramePipe) -> Iterator[PipedFrame]:
    piped = first
    while piped is not None:
        yield piped
        piped = pipe.take()


def _bridged(bridge: TimeBridge[PipedFrame], frames: Iterator[PipedFrame]) -> Iterator[tuple[int, int, PipedFrame]]:
    for piped in frames:
        yield from bridge.add(piped[1], piped)
    yield from bridge.finish()
