"""When the system has no more to give: which of memory, file handles and threads ran out, and what lowers the need."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from typing import Literal

from vidtag_cli.errors import ResourceError, VidtagError

Resource = Literal["memory", "handles", "threads"]

LEAST_HANDLES = 32
"""Files that a run has open at once: 20 with the ONNX Runtime on a CPU, some more with the libraries of a GPU."""

LEAST_ADDRESS_SPACE_BYTES, ADDRESS_SPACE_PER_THREAD_BYTES = 2**30, 2**27
"""What loading the libraries takes: OpenBLAS reserves buffers for every thread, and where it gets none it takes the
process with it by a segmentation fault (measured with faiss 1.12: at 1.1 GiB with two threads, not at 1.2 GiB)."""

BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")

_OF_NUMBER: dict[int, Resource] = {errno.ENOMEM: "memory", errno.EMFILE: "handles", errno.ENFILE: "handles"}
_OF_WORDS: tuple[tuple[str, Resource], ...] = (
    ("std::bad_alloc", "memory"),
    ("Failed to allocate memory", "memory"),
    ("Cannot allocate memory", "memory"),
    ("cannot allocate memory", "memory"),
    ("failed to map segment", "memory"),
    ("Too many open files", "handles"),
    ("can't start new thread", "threads"),
)
"""What libraries say that pass no error number on: ONNX Runtime, faiss, the loader of shared objects, Python."""


def explain_exhaustion(error: BaseException) -> ResourceError | None:
    """Return what to tell the user when ``error``, or what led to it, is that the system had no more to give.

    An error of the family names the file that it met, which is not to blame then: its causes are looked at, its words
    are not, for they hold names from outside.
    """
    for cause in _causes(error):
        exhausted = _exhausted(cause)
        if exhausted is not None:
            explained = ResourceError(_message(exhausted, cause))
            explained.__cause__ = error
            return explained
    return None


def check_room_to_run() -> None:
    """Raise ResourceError when the limits of this process are too low for a run, before a library crashes on them."""
    handles, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if handles != resource.RLIM_INFINITY and handles < LEAST_HANDLES:
        raise ResourceError(
            f"this process may have {handles} files open at once and needs {LEAST_HANDLES}: raise it with "
            "'ulimit -n 256'"
        )
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    threads = _blas_threads()
    needed = LEAST_ADDRESS_SPACE_BYTES + threads * ADDRESS_SPACE_PER_THREAD_BYTES
    if space != resource.RLIM_INFINITY and space < needed:
        raise ResourceError(
            f"this process may use {_gib(space)} of address space, and loading the libraries takes {_gib(needed)} with "
            f"{threads} threads: raise it with 'ulimit -v', or lower the need with OPENBLAS_NUM_THREADS=1"
        )


def _blas_threads() -> int:
    for name in BLAS_VARIABLES:
        text = os.environ.get(name, "")
        if text.isdecimal() and int(text) > 0:
            return int(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all that led to it."""
    waiting, seen = [error], set()
    while waiting:
        cause = waiting.pop()
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += [earlier for earlier in (cause.__context__, cause.__cause__) if earlier is not None]


def _exhausted(error: BaseException) -> Resource | None:
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, OSError) and error.errno in _OF_NUMBER:
        return _OF_NUMBER[error.errno]
    if isinstance(error, VidtagError | OSError):
        return None
    text = str(error)
    return next((exhausted for words, exhausted in _OF_WORDS if words in text), None)


def _message(exhausted: Resource, error: BaseException) -> str:
    if exhausted == "handles":
        handles, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return f"too many open files: this process may have {handles} at once: raise it with 'ulimit -n 256'"
    if exhausted == "threads":
        return (
            "no more threads can be started here: lower --threads, or raise 'ulimit -u' and the limits of the container"
        )
    needed = f" ({' '.join(str(error).split())})" if str(error) else ""
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    limit = (
        "" if space == resource.RLIM_INFINITY else f" or raise the {_gib(space)} this process may use ('ulimit -v'),"
    )
    return (
        f"memory ran out{needed}: end other programs,{limit} or lower the need with --threads 1, with --fps for fewer "
        "frames, or with a --gallery of fewer places"
    )


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"
