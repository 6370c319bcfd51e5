"""The ffmpeg program: where it is and which one it is."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import imageio_ffmpeg

from vidtag_cli.errors import ModelError

BINARY_VARIABLE = "VIDTAG_FFMPEG"

_OLDEST_LIBAVUTIL = (57, 28)  # of ffmpeg 5.1, the first with -fps_mode; builds from git carry no release number
_LIBAVUTIL_LINE = re.compile(r"^libavutil\s+\d+\.\s*\d+\.\s*\d+\s*/\s*(\d+)\.\s*(\d+)\.", re.MULTILINE)
_VERSION_TIMEOUT_S = 30.0
_INSTALL_ADVICE = f"install ffmpeg 5.1 or later, or pip install imageio-ffmpeg, or set ${BINARY_VARIABLE}"


@dataclass(frozen=True, slots=True)
class FfmpegBinary:
    """An ffmpeg that can be used here: its path, who named it, its version and a hash of how it was configured."""

    path: Path
    origin: str
    version: str
    configuration_sha256: str


def find_ffmpeg() -> FfmpegBinary:
    """Return the ffmpeg of ``$VIDTAG_FFMPEG``, else of the system, else of the imageio-ffmpeg wheel.

    A binary that was named must work. A system ffmpeg older than 5.1 is passed over, for distributions still ship it;
    ``origin`` says where the binary comes from. Raises ModelError when none is left.
    """
    named = os.environ.get(BINARY_VARIABLE)
    if named:
        return _inspect(Path(named), f"${BINARY_VARIABLE}")
    failures = []
    for origin, find in (("PATH", _system_ffmpeg), ("imageio-ffmpeg", _wheel_ffmpeg)):
        try:
            return _inspect(find(), origin)
        except ModelError as error:
            failures.append(str(error))
    raise ModelError("; ".join(failures))


def ffmpeg_environment() -> dict[str, str]:
    """Return the environment without what makes ffmpeg write report files or colour its messages."""
    removed = {"FFREPORT", "AV_LOG_FORCE_COLOR", "AV_LOG_FORCE_256COLOR"}
    environment = {name: value for name, value in os.environ.items() if name not in removed}
    return {**environment, "AV_LOG_FORCE_NOCOLOR": "1"}


def _system_ffmpeg() -> Path:
    system_path = shutil.which("ffmpeg")
    if system_path is None:
        raise ModelError(f"no ffmpeg on the PATH: {_INSTALL_ADVICE}")
    return Path(system_path)


def _wheel_ffmpeg() -> Path:
    try:
        return Path(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise ModelError(f"imageio-ffmpeg has no binary for this system: {_INSTALL_ADVICE}") from error


@cache
def _inspect(path: Path, origin: str) -> FfmpegBinary:
    """Return what a binary says of itself, once it has shown that it runs and is new enough."""
    try:
        answer = subprocess.run(
            [str(path), "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
            timeout=_VERSION_TIMEOUT_S,
            env=ffmpeg_environment(),
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ModelError(f"ffmpeg {path} (from {origin}) does not run ({error}): {_INSTALL_ADVICE}") from error
    first_line = answer.partition("\n")[0]
    libavutil = _LIBAVUTIL_LINE.search(answer)
    if not first_line.startswith("ffmpeg version ") or libavutil is None:
        raise ModelError(f"{path} (from {origin}) is not ffmpeg: {_INSTALL_ADVICE}")
    version = first_line.split()[2]
    if (int(libavutil[1]), int(libavutil[2])) < _OLDEST_LIBAVUTIL:
        raise ModelError(f"ffmpeg {version} at {path} (from {origin}) is too old: {_INSTALL_ADVICE}")
    configuration = next((line for line in answer.splitlines() if line.startswith("configuration:")), "")
    return FfmpegBinary(path, origin, version, hashlib.sha256(configuration.encode()).hexdigest())
