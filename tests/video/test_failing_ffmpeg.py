"""An ffmpeg that stalls, is killed or gives nonsense is one error that names it, and it never outlives the run."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from vidtag_cli import video
from vidtag_cli.errors import ModelError
from vidtag_cli.pipeline.prefetch import run_ahead
from vidtag_cli.video.decode import Frame, VideoDecoder
from vidtag_cli.video.ffmpeg import BINARY_VARIABLE
from vidtag_cli.video.limits import DecodeLimits
from vidtag_cli.video.probe import probe_video

ROOT = Path(__file__).resolve().parents[2]
SIZE_WH = (4, 2)
PRELUDE = r"""
import os, re, signal, sys, time
if "-version" in sys.argv:
    print("ffmpeg version 7.0 of a test\nconfiguration:\nlibavutil      59.  8.100 / 59.  8.100")
    sys.exit()
times = int(re.search(r"pipe\W*(\d+)", sys.argv[sys.argv.index("-filter_complex") + 1])[1])
def report(pts):
    line = b"frame:0    pts:%s   pts_time:0\n" % str(pts).encode()
    os.write(times, line + b"vidtag=decoded\n" + line + b"vidtag=used\n")
def pixels():
    os.write(1, bytes(24))
def frame(pts):
    report(pts)
    pixels()
"""
STALLS = {
    "at once": "time.sleep(600)",
    "deaf to SIGTERM": "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)",
    "after a frame": "frame(0); time.sleep(600)",
    "after its output": "frame(0); os.close(1); os.close(2); os.close(times); time.sleep(600)",
    "in a child of a wrapper": "import subprocess; subprocess.run(['sleep', '600'])",
}
NONSENSE = {
    "times that are words": "frame('soon')",
    "times beyond 64 bits": "frame(10**30)",
    "times out of range": "frame(2**63 - 1)",
    "times the file does not have": "frame(10**12)",
    "lines that are none": "os.write(times, os.urandom(1000) + b'\\n')",
    "a line without end": "[os.write(times, b'x' * 60000) for _ in range(3)]",
    "more pictures than times": "frame(0); pixels(); pixels()",
    "many more pictures than times": "[pixels() for _ in range(200)]",
    "more times than pictures": "frame(0); report(512)",
}
KILLED = {
    "SIGKILL": "frame(0); os.kill(os.getpid(), 9)",
    "SIGKILL within a picture": "frame(0); report(512); os.write(1, b'x' * 5); os.kill(os.getpid(), 9)",
    "SIGKILL before a frame": "os.kill(os.getpid(), 9)",
    "SIGSEGV": "frame(0); os.kill(os.getpid(), 11)",
    "SIGTERM, as ffmpeg takes it": "frame(0); sys.exit(255)",
    "out of memory": "frame(0); sys.exit(244)",
}


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Return a function that puts a program in ffmpeg's place and returns its path."""

    def put(program: str) -> Path:
        path = tmp_path / "odd-ffmpeg"
        path.write_text(f"#!{sys.executable} -S\n{PRELUDE}{program}\n")
        path.chmod(0o755)
        monkeypatch.setenv(BINARY_VARIABLE, str(path))
        return path

    return put


def decode(path: Path, stall_timeout_s: float = 60.0) -> list[Frame]:
    limits = DecodeLimits(stall_timeout_s=stall_timeout_s)
    with VideoDecoder(path, probe_video(path), SIZE_WH, limits=limits) as decoder:
        return list(decoder)


def processes_of(name: Path) -> list[int]:
    """Return the processes with a name in their command line."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(str(name) in argument for argument in process.info["cmdline"] or [])
    ]


def wait_until(condition: object, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("case", STALLS)
def test_a_stalled_ffmpeg_is_named_and_ended(lossless_mov: Path, stand_in: object, case: str) -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    stand_in(STALLS[case])  # type: ignore[operator]
    with pytest.raises(ModelError, match=r"odd-ffmpeg has stalled.*--stall-timeout"):
        decode(lossless_mov, stall_timeout_s=1.0)
    assert {process.pid for process in psutil.Process().children(recursive=True)} == before


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_an_error_that_names_the_program(lossless_mov: Path, stand_in: object, case: str) -> None:
    stand_in(NONSENSE[case])  # type: ignore[operator]
    with pytest.raises(ModelError, match="odd-ffmpeg.*VIDTAG_FFMPEG"):
        decode(lossless_mov)


@pytest.mark.parametrize("case", KILLED)
def test_frames_of_an_ffmpeg_that_was_killed_are_not_used(lossless_mov: Path, stand_in: object, case: str) -> None:
    stand_in(KILLED[case])  # type: ignore[operator]
    with pytest.raises(ModelError, match=r"odd-ffmpeg (was ended by signal|ended early with status).*nothing of it"):
        decode(lossless_mov)


def test_leaving_a_stalled_decoder_from_another_thread_takes_no_time(lossless_mov: Path, stand_in: object) -> None:
    stand_in(STALLS["deaf to SIGTERM"])  # type: ignore[operator]
    began = time.monotonic()
    with VideoDecoder(lossless_mov, probe_video(lossless_mov), SIZE_WH) as decoder:
        frames = (frame for frame in decoder)
        with run_ahead(frames, interrupt=decoder.close):
            time.sleep(0.5)  # the worker waits for the first frame
    assert time.monotonic() - began < 5.0


LOCATE = [sys.executable, "-m", "vidtag_cli", "locate", "--model", "flyover"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_whose_ffmpeg_has_stalled(lossless_mov: Path, stand_in: object, number: int) -> None:
    program = stand_in(STALLS["deaf to SIGTERM"])  # type: ignore[operator]
    run = subprocess.Popen([*LOCATE, str(lossless_mov)], cwd=ROOT, stderr=subprocess.PIPE)
    assert wait_until(lambda: len(processes_of(program)) == 2, 180.0)  # the guard and what it started
    run.send_signal(number)
    assert run.wait(20.0) == 128 + number
    assert run.stderr is not None
    assert b"interrupted" in run.stderr.read()
    assert processes_of(program) == []


READ_FRAMES = """
import sys
from pathlib import Path
from vidtag_cli.video.decode import VideoDecoder
from vidtag_cli.video.probe import probe_video
path = Path(sys.argv[1])
list(VideoDecoder(path, probe_video(path), (4, 2)))
"""


@pytest.mark.parametrize("case", ["deaf to SIGTERM", "in a child of a wrapper"])
def test_ffmpeg_ends_with_a_program_that_is_killed(lossless_mov: Path, stand_in: object, case: str) -> None:
    program = stand_in(STALLS[case])  # type: ignore[operator]
    run = subprocess.Popen([sys.executable, "-c", READ_FRAMES, str(lossless_mov)], cwd=ROOT)
    assert wait_until(lambda: len(processes_of(program)) >= 2, 180.0)
    group = os.getpgid(processes_of(program)[0])
    run.kill()
    run.wait()
    assert wait_until(lambda: not [p for p in psutil.pids() if _group_of(p) == group])


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid) if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE else None
    except (ProcessLookupError, psutil.NoSuchProcess):
        return None


@pytest.mark.parametrize(("allowed_gib", "expected_gib"), [((2, 3), 2), ((2, 2), 2), ((8, 8), 4), (None, 4)])
def test_a_guard_takes_no_more_memory_than_it_may_have(allowed_gib: tuple[int, int] | None, expected_gib: int) -> None:
    """``--max-pixels`` sets the limit of ffmpeg; ``ulimit -v`` may have set a lower one, which cannot be raised."""

    def limit() -> None:
        if allowed_gib is not None:
            resource.setrlimit(resource.RLIMIT_AS, (allowed_gib[0] << 30, allowed_gib[1] << 30))

    guard = Path(video.__file__).with_name("guard.py")
    lifeline, held = os.pipe()
    try:
        command = [sys.executable, "-I", "-S", str(guard), str(lifeline), str(4 << 30), "/bin/sh", "-c", "ulimit -v"]
        done = subprocess.run(
            command, pass_fds=[lifeline], preexec_fn=limit, capture_output=True, text=True, check=True
        )
    finally:
        os.close(lifeline)
        os.close(held)
    assert int(done.stdout) == expected_gib << 20  # in KiB
