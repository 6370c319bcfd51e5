"""The TensorRT module, ``tensorrt`` or ``tensorrt_rtx``: imported, its version checked, its messages collected."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any, Literal

from vidtag_cli.errors import ModelError

TENSORRT_PACKAGES = {
    "tensorrt": "vidtag-geo[gpu], which brings tensorrt; its libraries come from NVIDIA's own package index",
    "tensorrt_rtx": "vidtag-geo[rtx], which brings tensorrt-rtx",
}
"""The two Python modules with TensorRT's interface, and what to install for each."""

OLDEST_TENSORRT = (10, 14)
"""The first whose parser knows the Attention operator that our graphs are exported with."""


@dataclass(frozen=True, slots=True)
class TensorRtLibrary:
    """An imported TensorRT module; ``log`` holds what the library said, which its return values do not."""

    name: str
    module: ModuleType
    log: MessageLog

    @property
    def version(self) -> str:
        return str(self.module.__version__)

    @property
    def names_targets(self) -> bool:
        """Whether engines are built for a named kind of GPU, with none needed, and not for the one in this machine."""
        return hasattr(self.module, "ComputeCapability")


class MessageLog:
    """The messages of a library that reports its reasons to a logger only, and a signal or error that came meanwhile.

    An exception must not leave a callback of the library: it would pass through C++ code that ends the process.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.interruption: BaseException | None = None

    def add_error(self, text: str) -> None:
        self.errors.append(" ".join(text.split()))

    def reasons(self) -> str:
        """Return the errors since :meth:`cleared`, each once, in one line."""
        return "; ".join(dict.fromkeys(self.errors)) or "it gave no reason"

    @contextmanager
    def cleared(self) -> Iterator[None]:
        """Forget old messages, and at the end of the block raise what came in one of the library's callbacks."""
        self.errors.clear()
        self.interruption = None
        yield
        if self.interruption is not None:
            raise self.interruption


@lru_cache(maxsize=len(TENSORRT_PACKAGES))
def import_tensorrt(name: str) -> TensorRtLibrary:
    """Return the module ``tensorrt`` or ``tensorrt_rtx``; raises ModelError that says what to install."""
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise ModelError(f"{name} cannot be imported ({error}): install {TENSORRT_PACKAGES[name]}") from error
    if not hasattr(module, "OnnxParser"):
        raise ModelError(f"{name}: the Python module is not NVIDIA's: install {TENSORRT_PACKAGES[name]}")
    if name == "tensorrt" and _version(module) < OLDEST_TENSORRT:
        raise ModelError(
            f"tensorrt {module.__version__} is too old: at least {'.'.join(map(str, OLDEST_TENSORRT))} is needed"
        )
    return TensorRtLibrary(name, module, _message_log(name))


@lru_cache(maxsize=len(TENSORRT_PACKAGES))
def _message_log(library_name: str) -> MessageLog:
    return MessageLog()


@lru_cache(maxsize=len(TENSORRT_PACKAGES))
def library_logger(library_name: str) -> Any:
    """Return the logger to hand to the library.

    One for the whole process: the library keeps the first it is given and ignores all later ones.
    """
    library = import_tensorrt(library_name)
    trt, log = library.module, library.log

    class CollectingLogger(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            try:
                if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                    log.add_error(message)
            except (KeyboardInterrupt, SystemExit) as signal:
                log.interruption = signal

    return CollectingLogger()


def open_part(library: TensorRtLibrary, part: Literal["Builder", "Runtime"]) -> Any:
    """Return the library's builder or runtime; raises ModelError with its reasons when it refuses GPU or driver.

    To be called inside ``library.log.cleared()``.
    """
    try:
        return getattr(library.module, part)(library_logger(library.name))
    except TypeError as error:  # the bindings know nothing but that the library returned no object
        raise ModelError(
            f"{library.name} {library.version} has no {part} for the GPU and driver here: {library.log.reasons()}: "
            "check the NVIDIA driver with nvidia-smi, or use --engine onnxruntime"
        ) from error


def _version(module: ModuleType) -> tuple[int, int]:
    major, minor = str(module.__version__).split(".")[:2]
    return int(major), int(minor)
