"""The errors of vidtag: one family, each with the exit code that a shell script sees."""

from __future__ import annotations

ALL_FRAMES_ABSTAINED = 8
"""Exit code of a run that finished and located no frame: a valid result, not an error."""

SOME_INPUTS_FAILED = 9
"""Exit code of a batch in which at least one input failed and the others were done."""


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


class EvidenceError(VidtagError):
    """The input changed while it was read, or differs from the hash that was expected."""

    exit_code = 7
