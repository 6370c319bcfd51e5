"""The most memory that this process held while something ran."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path
from types import TracebackType

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_RESET_PEAK = "5"


class PeakMemory:
    """Measures a block: ``peak_bytes`` is the largest resident size of the process during it.

    Where the system cannot forget an earlier peak (anything but Linux) it is the largest since the process began.
    """

    def __init__(self) -> None:
        self.peak_bytes = 0

    def __enter__(self) -> PeakMemory:
        with contextlib.suppress(OSError):  # the peak since the process began is still an upper bound
            _CLEAR_REFS.write_text(_RESET_PEAK)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.peak_bytes = _peak_bytes()


def _peak_bytes() -> int:
    try:
        lines = _STATUS.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
