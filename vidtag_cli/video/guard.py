"""A process of its own between vidtag and ffmpeg: ffmpeg ends with vidtag, even where vidtag is killed.

Run as a script, ``python -I -S guard.py LIFELINE MEMORY COMMAND...``, as the leader of a process group. It starts the
command, waits for it and ends as it ended. LIFELINE is the read end of a pipe that only vidtag holds open: once that is
closed, which the system does for a process that is killed, everything in the group is killed. A parent-death signal
would not do: it comes when the thread that started ffmpeg ends, and does not reach what a wrapper script has started.
MEMORY limits the address space of the command in bytes; 0 is no limit.

Nothing of vidtag is imported here: this starts in some ten milliseconds.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys

CANNOT_START = 127
"""Exit status when the command cannot be started, as in a shell."""


def watch(lifeline_fd: int, memory_bytes: int, command: list[str]) -> int:
    """Run the command to its end and return its exit status, negative for a signal; kill the group at the end of the
    lifeline.
    """
    wake_fd, child_ended_fd = os.pipe()
    os.set_blocking(child_ended_fd, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)  # it only has to wake the select below
    signal.set_wakeup_fd(child_ended_fd)
    if memory_bytes:
        limit_memory(memory_bytes)
    try:
        # Python ignores SIGPIPE, and what is ignored stays so in a program that is started.
        pid = os.posix_spawn(command[0], command, os.environ, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])
    except OSError as error:
        os.write(2, f"{command[0]} cannot be started: {error.strerror}\n".encode(errors="replace"))
        return CANNOT_START
    while True:
        readable, _, _ = select.select([lifeline_fd, wake_fd], [], [])
        if lifeline_fd in readable:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            if os.getpgrp() == os.getpid():  # never the group of somebody else
                os.killpg(os.getpid(), signal.SIGKILL)
            return -signal.SIGKILL
        os.read(wake_fd, 1)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)


def limit_memory(memory_bytes: int) -> None:
    """Limit the address space of this process and its children, unless it may have less already."""
    allowed = [limit for limit in resource.getrlimit(resource.RLIMIT_AS) if limit != resource.RLIM_INFINITY]
    least = min([memory_bytes, *allowed])
    resource.setrlimit(resource.RLIMIT_AS, (least, least))


def end_as(status: int) -> None:
    """End this process with an exit status or, if it is negative, by that signal."""
    if status < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    end_as(watch(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
