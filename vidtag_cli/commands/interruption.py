"""Ending on a signal: at once, with the temporary files removed, with the code a shell expects."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

HANDLED = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
RETRY_S = 0.05


@dataclass(slots=True)
class Interruption:
    """The first signal of a run, 0 while none has come.

    A library in whose code the exception of a signal is raised may turn it into an error of its own, as the import of
    an extension module does: then this still tells why.
    """

    number: int = 0

    @property
    def came(self) -> bool:
        return self.number != 0

    @property
    def exit_code(self) -> int:
        return 128 + self.number


@contextmanager
def interruptible(interruption: Interruption) -> Iterator[None]:
    """Within the block the first signal raises, so that clean-up runs; a second one ends the process without it.

    Ctrl-C raises KeyboardInterrupt, SIGTERM and SIGHUP raise SystemExit(128 + number). A signal that is ignored stays
    ignored: a shell starts a job with ``&`` so, and nohup does it on purpose.
    """
    previous = {number: signal.getsignal(number) for number in HANDLED}
    caught = [number for number, handler in previous.items() if handler is not signal.SIG_IGN]
    report_unraisable = sys.unraisablehook

    def on_first_signal(number: int, frame: FrameType | None) -> None:
        for handled in caught:
            signal.signal(handled, _on_second_signal)
        if not interruption.came:
            # Not through sys.stderr: the signal may have come while that was being written.
            with suppress(OSError):  # nobody can read it
                os.write(2, b"vidtag: interrupted, cleaning up; once more to stop at once\n")
        interruption.number = number
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    def on_unraisable(met: Any) -> None:
        """Interrupt once more when the exception came where Python can raise none, such as in a destructor."""
        if not interruption.came or not isinstance(met.exc_value, (KeyboardInterrupt, SystemExit)):
            report_unraisable(met)
            return
        signal.signal(interruption.number, on_first_signal)
        retry = threading.Timer(RETRY_S, os.kill, (os.getpid(), interruption.number))
        retry.daemon = True
        retry.start()

    for number in caught:
        signal.signal(number, on_first_signal)
    sys.unraisablehook = on_unraisable
    try:
        yield
    finally:
        sys.unraisablehook = report_unraisable
        for number, handler in previous.items():
            # None: a handler that was not installed from Python and cannot be put back from here.
            if handler is not None:
                signal.signal(number, handler)


def _on_second_signal(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)
