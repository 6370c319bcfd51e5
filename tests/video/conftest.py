from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from vidtag_cli.video.ffmpeg import find_ffmpeg


@pytest.fixture(scope="session")
def run_ffmpeg() -> Callable[..., bytes]:
    """Return a function that runs the ffmpeg in use and returns its standard output."""

    def run(*arguments: object) -> bytes:
        argv = [str(find_ffmpeg().path), "-nostdin", "-v", "error", "-threads", "1", *map(str, arguments)]
        return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True).stdout

    return run


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the tests of a session keep the clips they make."""
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="session")
def lossless_mov(clips: Path, run_ffmpeg: Callable[..., bytes]) -> Path:
    """Return a clip of 5 frames of 64 x 48 whose RGB pixels are stored without loss."""
    path = clips / "lossless.mov"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=5:duration=1", "-pix_fmt", "rgb24", "-c:v", "png", path)
    return path


@pytest.fixture(scope="session")
def steady_mp4(clips: Path, run_ffmpeg: Callable[..., bytes]) -> Path:
    """Return a clip of 20 s of 64 x 48 at 25 frames per second."""
    path = clips / "steady.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=20", "-c:v", "mpeg4", path)
    return path
