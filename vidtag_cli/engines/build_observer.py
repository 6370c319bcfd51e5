"""Telling people that an engine is being built: a line when it begins and why, progress while it lasts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vidtag_cli.engines.tensorrt_library import MessageLog, TensorRtLibrary

_logger = logging.getLogger(__name__)


def _no_progress(done: float, total: float | None) -> None:
    pass


@dataclass(frozen=True, slots=True)
class BuildObserver:
    """Where the news of a build goes: whole lines to ``say``, what is done out of 1 to ``progress``.

    By default lines are log records of level WARNING, which every command shows on stderr: a build takes up to
    minutes, and nobody should wonder what the program does.
    """

    say: Callable[[str], None] = _logger.warning
    progress: Callable[[float, float | None], None] = _no_progress


class PhaseProgress:
    """What share of a build is done, from phases that begin and end inside one another."""

    def __init__(self) -> None:
        self._phases: list[tuple[str, int, int]] = []  # name, steps, steps done; each inside the one before it
        self._furthest = 0.0

    def start(self, name: str, steps: int) -> None:
        self._phases.append((name, max(steps, 1), 0))

    def step(self, name: str, step: int) -> None:
        self._phases = [(n, total, step + 1 if n == name else done) for n, total, done in self._phases]

    def finish(self, name: str) -> None:
        self._phases = [phase for phase in self._phases if phase[0] != name]

    def share(self) -> float:
        """Return the share done, 0 to 1; it never falls, though the library repeats some phases."""
        share, weight = 0.0, 1.0
        for _, total, done in self._phases:
            share += weight * min(done / total, 1.0)
            weight /= total
        self._furthest = max(self._furthest, min(share, 1.0))
        return self._furthest


def progress_monitor(library: TensorRtLibrary, observer: BuildObserver) -> Any:
    """Return an object for the library's ``progress_monitor`` that passes progress on and stops on a signal."""
    trt, log = library.module, library.log

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases = PhaseProgress()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            _guarded(log, lambda: self.phases.start(phase_name, num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            def report() -> None:
                self.phases.step(phase_name, step)
                observer.progress(self.phases.share(), 1.0)

            _guarded(log, report)
            return log.interruption is None

        def phase_finish(self, phase_name: str) -> None:
            _guarded(log, lambda: self.phases.finish(phase_name))

    return Monitor()


def _guarded(log: MessageLog, action: Callable[[], None]) -> None:
    try:
        action()
    except BaseException as error:  # noqa: BLE001 - raised again by the log, once the library has returned
        if log.interruption is None:  # what comes while the build is being given up hides no cause
            log.interruption = error
