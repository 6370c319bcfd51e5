"""The errors of vidtag: one family, each with the exit code that a shell script sees."""

from __future__ import annotations

import os
import re

ALL_FRAMES_ABSTAINED = 8
"""Exit code of a run that finished and located no frame: a valid result, not an error."""

SOME_INPUTS_FAILED = 9
"""Exit code of a batch in which at least one input failed and the others were done."""

CLAIM_INCONSISTENT = 10
"""Exit code of a check with ``--exit-verdict`` that found the claim inconsistent: a result, not an error."""

CLAIM_UNDECIDED = 11
"""Exit code of a check with ``--exit-verdict`` that cannot say."""


_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/+(?P<rest>.*)", re.DOTALL)
"""An address, as it was written or as a path that has lost one of its slashes."""


class VidtagError(Exception):
    """A failure with a message for the user that says what, where and what to do next."""

    exit_code = 1


class UsageError(VidtagError):
    """Options that contradict each other or a value that cannot be understood."""

    exit_code = 2


class InputError(VidtagError):
    """An input is missing or cannot be read."""

    exit_code = 3


class VideoError(VidtagError):
    """An input can be read but is not a video that can be decoded."""

    exit_code = 4


class OutputError(VidtagError):
    """An output exists already (and ``--force`` was not given) or cannot be written."""

    exit_code = 5


class ModelError(VidtagError):
    """A model, gallery or engine is missing, damaged, foreign or cannot run here."""

    exit_code = 6


class ResourceError(VidtagError):
    """The machine, or a limit set for this process, has too little memory, too few file handles or threads to run."""

    exit_code = 6


class EvidenceError(VidtagError):
    """The input changed while it was read, or differs from the hash that was expected."""

    exit_code = 7


def missing_file(path: str | os.PathLike[str]) -> InputError:
    """Return the error of a file that is not there; for an address it says that nothing is ever fetched."""
    url = url_of(path)
    if url is None:
        return InputError(f"{os.fspath(path)}: there is no such file")
    if url.startswith("file:"):
        return InputError(f"{url}: give the path alone, without file://")
    return InputError(f"{url}: only local files are read, and nothing is fetched: download it and give its path")


def url_of(path: str | os.PathLike[str]) -> str | None:
    """Return the address that a path was meant to be, such as ``rtsp://camera/1``, or None for a path."""
    url = _URL.fullmatch(os.fspath(path))
    if url is None or os.path.isdir(f"{url['scheme']}:"):
        return None
    slashes = ":///" if url["scheme"].lower() == "file" else "://"
    return f"{url['scheme']}{slashes}{url['rest']}"
