"""A running ffmpeg, its pipes, and its end: by itself, by order, or with the program that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from vidtag_cli.errors import ModelError
from vidtag_cli.video.ffmpeg import ffmpeg_environment

_GUARD = Path(__file__).with_name("guard.py")
_KILL_PATIENCE_S = 10.0
"""A killed process is gone at once, but for one that waits for a disk or a network drive that does not answer."""


class DecoderProcess:
    """ffmpeg with a pipe for each stream it writes: ``pixels_fd``, ``complaints_fd`` and ``polled_fds``, all to read.

    ``argv_for`` makes the command from the descriptors of so many further pipes. ffmpeg runs in a process group of its
    own, so that Ctrl-C in the terminal reaches this program alone, under a guard that ends it when this process ends in
    whatever way; it inherits ``inherited_fds`` too. ``memory_bytes`` limits its address space; 0 is no limit.
    """

    def __init__(
        self, argv_for: Callable[..., list[str]], pipes: int, memory_bytes: int = 0, inherited_fds: Sequence[int] = ()
    ) -> None:
        pairs = [os.pipe() for _ in range(pipes + 2)]
        (lifeline_fd, self._lifeline_end_fd), (complaints_fd, complaints_end_fd), *polled = pairs
        write_fds = [write_fd for _, write_fd in polled]
        self.complaints_fd = complaints_fd
        self.polled_fds = [read_fd for read_fd, _ in polled]
        try:
            command = argv_for(*write_fds)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARD), str(lifeline_fd), str(memory_bytes), *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints_end_fd,
                bufsize=0,
                pass_fds=(lifeline_fd, *write_fds, *inherited_fds),
                env=ffmpeg_environment(),
                process_group=0,
            )
        except BaseException as error:
            _close((self._lifeline_end_fd, complaints_fd, *self.polled_fds))
            if isinstance(error, OSError):
                raise ModelError(f"ffmpeg cannot be started: {error.strerror}") from error
            raise
        finally:
            _close((lifeline_fd, complaints_end_fd, *write_fds))
        self.program = command[0]
        if self._process.stdout is None:
            raise ValueError("ffmpeg was started without a pipe")
        self.pixels_fd = self._process.stdout.fileno()

    @property
    def status(self) -> int | None:
        """How ffmpeg ended, negative for a signal; None until that has been waited for."""
        return self._process.returncode

    def wait(self, timeout_s: float) -> int | None:
        """Return how ffmpeg ended, negative for a signal, or None when it has not ended after so many seconds."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_s)
        return None

    def kill(self) -> None:
        """End ffmpeg and whatever a wrapper script around it started, at once and whatever it ignores."""
        if self._process.returncode is None:  # not yet reaped, so the number of the group is still its own
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self.wait(_KILL_PATIENCE_S)

    def close(self) -> None:
        """End ffmpeg if it still runs and close the pipes; nobody may read them any more."""
        self.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()
        _close((self._lifeline_end_fd, self.complaints_fd, *self.polled_fds))


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
