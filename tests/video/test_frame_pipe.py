from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from vidtag_cli.errors import ModelError
from vidtag_cli.video.decode_command import THUMBNAIL_WH
from vidtag_cli.video.decoder_log import DecoderLog
from vidtag_cli.video.frame_pipe import QUEUED_FRAMES, FramePipe
from vidtag_cli.video.limits import DecodeLimits

SIZE_WH = (4, 2)
FRAME_BYTES = 4 * 2 * 3

# A stand-in for ffmpeg: `frame(n, pts)` reports and writes one frame filled with n.
PRELUDE = f"""
import os, sys
times = int(sys.argv[1])
def report(pts):
    line = b"frame:0    pts:%s   pts_time:0\\n" % str(pts).encode()
    os.write(times, line + b"vidtag=decoded\\n" + line + b"vidtag=used\\n")
def frame(number, pts):
    report(pts)
    os.write(1, bytes([number % 256]) * {FRAME_BYTES})
"""


def _pipe_with_thumbnails(program: str) -> FramePipe:
    """Return the pipe of a stand-in that also knows `thumbnail(level)`: half of the picture bright, half at a level."""
    beginning = f"""
thumbnails = int(sys.argv[2])
def thumbnail(level):
    os.write(thumbnails, bytes([255, level]) * {THUMBNAIL_WH[0] * THUMBNAIL_WH[1] // 2})
"""
    argv = [sys.executable, "-S", "-c", PRELUDE + beginning + program]
    return FramePipe(lambda *descriptors: [*argv, *map(str, descriptors)], SIZE_WH, DecoderLog(), find_cuts=True)


def _pipe(program: str, size_wh: tuple[int, int] = SIZE_WH) -> tuple[FramePipe, DecoderLog]:
    log = DecoderLog()
    argv = [sys.executable, "-S", "-c", PRELUDE + program]
    return FramePipe(lambda times_fd: [*argv, str(times_fd)], size_wh, log), log


def test_pairs_pixels_with_times() -> None:
    pipe, log = _pipe("frame(1, 10); frame(2, 'NOPTS'); frame(3, -5); os.write(2, b'oops\\n')")
    taken = [pipe.take() for _ in range(4)]
    assert [(item[0], item[1], int(item[3].mean())) for item in taken if item] == [(0, 10, 1), (1, None, 2), (2, -5, 3)]
    assert taken[3] is None
    assert pipe.exit_status() == 0
    assert log.frames_decoded == 3
    assert log.lines[0] == "oops"
    pipe.close()


@pytest.mark.parametrize(("program", "status"), [("sys.exit(69)", 69), ("os.kill(os.getpid(), 9)", -9)])
def test_a_failure_after_frames_keeps_the_frames(program: str, status: int) -> None:
    pipe, _ = _pipe(f"frame(1, 0); frame(2, 1); {program}")
    assert pipe.take() is not None
    assert pipe.take() is not None
    assert pipe.take() is None
    assert pipe.exit_status() == status
    pipe.close()


def test_half_a_frame_is_an_error_line() -> None:
    pipe, log = _pipe("frame(1, 0); os.write(1, b'x' * 5)")
    first = pipe.take()
    assert first is not None
    assert np.array_equal(first[3], np.ones((2, 4, 3), np.uint8))
    assert pipe.take() is None
    assert "incomplete (5 of 24 bytes)" in log.lines[0]
    pipe.close()


@pytest.mark.parametrize("program", ["report(0)", f"os.write(1, b'x' * {FRAME_BYTES})", "os.write(times, b'what\\n')"])
def test_pixels_and_times_that_do_not_match_raise(program: str) -> None:
    pipe, _ = _pipe(program)
    with pytest.raises(ModelError, match="python.*(frames without|reported the time)"):
        pipe.take()
    pipe.close()


def test_an_endless_source_is_held_back_and_ended() -> None:
    """The reader stops at a full queue: what it has seen is bounded by the queue and the pipes of the system."""
    endless = (
        f"pixels = b'x' * {256 * 128 * 3}\nfor number in range(10**9):\n    report(number)\n    os.write(1, pixels)"
    )
    pipe, log = _pipe(endless, (256, 128))  # a frame fills the pipe of the system
    for _ in range(3 * QUEUED_FRAMES):
        assert pipe.take() is not None
    pipe.close()
    pipe.close()
    assert pipe.exit_status() == -9
    in_pipes = 4  # one waits to be queued, one is being read, one being written, one reported before that
    assert log.frames_decoded <= 3 * QUEUED_FRAMES + QUEUED_FRAMES + in_pipes


def test_frames_wait_until_their_shot_is_known() -> None:
    pipe = _pipe_with_thumbnails(
        "for number, level in enumerate([0, 0, 0, 255, 255, 255]):\n    frame(number, number)\n    thumbnail(level)"
    )
    taken = [pipe.take() for _ in range(7)]
    assert [(item[0], item[2]) for item in taken if item] == [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 1)]
    pipe.close()


@pytest.mark.parametrize("thumbnails", ["", "thumbnail(0)", "os.write(thumbnails, b'x' * 7)"])
def test_frames_come_out_though_thumbnails_are_missing(thumbnails: str) -> None:
    pipe = _pipe_with_thumbnails(f"frame(1, 0); frame(2, 1); frame(3, 2); {thumbnails}")
    assert [item[2] for item in (pipe.take() for _ in range(3)) if item] == [0, 0, 0]
    assert pipe.take() is None
    pipe.close()


def test_time_in_which_nobody_takes_frames_is_no_stall() -> None:
    program = f"for number in range(10**9):\n    report(number)\n    os.write(1, b'x' * {256 * 128 * 3})"
    argv = [sys.executable, "-S", "-c", PRELUDE + program]
    limits = DecodeLimits(stall_timeout_s=3.0)
    pipe = FramePipe(lambda times_fd: [*argv, str(times_fd)], (256, 128), DecoderLog(), limits=limits)
    assert pipe.take() is not None
    time.sleep(4.0)
    for _ in range(2 * QUEUED_FRAMES):
        assert pipe.take() is not None
    pipe.close()
