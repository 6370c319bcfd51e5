"""Ending on a signal: at once, with the temporary files removed, with the code a shell expects."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

HANDLED = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def interruptible() -> Iterator[None]:
    """Within the block the first signal raises, so that clean-up runs; a second one ends the process without it.

    Ctrl-C raises KeyboardInterrupt, SIGTERM and SIGHUP raise SystemExit(128 + number). A signal that is ignored stays
    ignored: a shell starts a job with ``&`` so, and nohup does it on purpose.
    """
    previous = {number: signal.getsignal(number) for number in HANDLED}
    for number, handler in previous.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _on_first_signal)
    try:
        yield
    finally:
        for number, handler in previous.items():
            # None: a handler that was not installed from Python and cannot be put back from here.
            if handler is not None:
                signal.signal(number, handler)


def _on_first_signal(number: int, frame: FrameType | None) -> None:
    for handled in HANDLED:
        if signal.getsignal(handled) is _on_first_signal:
            signal.signal(handled, _on_second_signal)
    # Not through sys.stderr: the signal may have come while that was being written.
    with suppress(OSError):  # nobody can read it
        os.write(2, b"vidtag: interrupted, cleaning up; once more to stop at once\n")
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def _on_second_signal(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)
