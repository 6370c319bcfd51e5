"""Frames of a video at the size and the times the model wants, and the true presentation time of each.

This is the only place where frames are turned, cropped, scaled and converted to RGB: training and location see the same
pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import get_args

import numpy as np

from vidtag_cli.errors import ModelError, UsageError, VideoError
from vidtag_cli.video.containers import file_url
from vidtag_cli.video.decode_command import DecodeDevice, DecodeMode, Resize, decode_argv, hardware_options
from vidtag_cli.video.decoder_log import DecoderLog
from vidtag_cli.video.ffmpeg import find_ffmpeg
from vidtag_cli.video.frame_pipe import FramePipe
from vidtag_cli.video.info import VideoInfo
from vidtag_cli.video.packets import packet_pts

_QUOTED_LINES = 2


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
    ``center_crop`` first cuts it to that shape. Times are the container's own, need not start at 0, and
    strictly increase.

    ``mode`` limits what is decoded, and the rule above then chooses among those frames: ``fast`` leaves out frames that
    no other needs, ``keyframes`` takes key frames only, so that steps shorter than their distance stay empty. Times and
    numbers are those of the frame used in every mode. ``device`` cuda decodes on the graphics card or raises
    ModelError; the CPU never takes its place. ``block_frames`` consecutive frames share one array, see
    ``frame_batches``. With ``find_cuts`` every decoded frame is compared with the one before, see ``CutFinder``, and
    frames know their shot; key frames alone are too far apart for that.

    Iterating raises VideoError if not one frame can be decoded and ModelError if there is no usable ffmpeg. What goes
    wrong later does not end the work: it is in ``errors``, complete after the last frame. Leaving the ``with`` block or
    the loop ends ffmpeg.
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
        self._log = DecoderLog()
        self._pipe: FramePipe | None = None
        self._is_closed = False
        self._frames_used = 0

    def __enter__(self) -> VideoDecoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        if self._pipe is not None or self._is_closed:
            raise ValueError("the frames of a VideoDecoder can be read once; make another one")
        every_pts = None if self._mode == "exact" else packet_pts(self._path, self._info)
        inherited_fds = () if self._info.descriptor is None else (self._info.descriptor,)
        self._pipe = FramePipe(self._argv, self._size_wh, self._log, self._block_frames, self._find_cuts, inherited_fds)
        return self._frames(self._pipe, every_pts)

    def close(self) -> None:
        """End the decoding, wherever it stands."""
        self._is_closed = True
        if self._pipe is not None:
            self._pipe.close()

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
    def frames_decoded(self) -> int:
        """How many frames the decoder has given so far, in use or not."""
        return self._log.frames_decoded

    @property
    def frames_used(self) -> int:
        """How many frames have been handed out so far."""
        return self._frames_used

    def _argv(self, times_fd: int, thumbnails_fd: int | None = None) -> list[str]:
        return decode_argv(
            find_ffmpeg(),
            self._path,
            self._info,
            self._size_wh,
            self._sampling_fps,
            self._resize,
            self._threads,
            times_fd,
            self._mode,
            self._device,
            thumbnails_fd,
        )

    def _frames(self, pipe: FramePipe, every_pts: np.ndarray | None) -> Iterator[Frame]:
        last_pts: int | None = None
        try:
            while not self._is_closed and (piped := pipe.take()) is not None:
                source_index, pts, shot, rgb = piped
                if pts is None or (last_pts is not None and pts <= last_pts):
                    continue  # the log has counted it
                last_pts = pts
                if every_pts is not None:
                    source_index = int(np.searchsorted(every_pts, pts))
                frame = Frame(self._frames_used, float(pts * self._info.time_base), rgb, source_index, shot)
                self._frames_used += 1
                yield frame
            if not self._is_closed:
                self._check_end(pipe.exit_status())
        finally:
            self.close()

    def _check_end(self, status: int) -> None:
        if status != 0:
            how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
            self._log.add(f"ffmpeg {how}")
        if self._frames_used == 0:
            self._check_device(status)
            reason = "; ".join(self.errors[:_QUOTED_LINES]) or "the decoder gives no reason"
            raise VideoError(f"{self._path}: no frame could be decoded ({reason}); check that the file is whole")

    def _check_device(self, status: int) -> None:
        """Raise ModelError where ffmpeg could not decode on the device that was asked for."""
        if self._device == "cpu" or status == 0:
            return
        reason = "; ".join(self.errors[:_QUOTED_LINES]) or "it gives no reason"
        raise ModelError(
            f"{self._path}: ffmpeg cannot decode {self._info.codec} {self._info.pixel_format} on {self._device} here "
            f"({reason}); nothing was decoded on the CPU instead: leave --decode-device out for that"
        )
