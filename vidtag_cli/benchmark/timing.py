"""Measured rounds of one piece of work, and what is said of them."""

from __future__ import annotations

import math
import resource
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

P95 = 0.95


@dataclass(frozen=True, slots=True)
class Timing:
    """What one piece of work took in each counted round: wall seconds, and processor seconds with those of ffmpeg."""

    name: str
    frames: int
    wall_s: tuple[float, ...]
    core_s: tuple[float, ...]

    def median_s(self) -> float:
        """Return the wall seconds of the median round."""
        return statistics.median(self.wall_s)

    def p95_s(self) -> float:
        """Return the wall seconds that 95 of 100 rounds do not exceed: the nearest rank, so a round that was seen."""
        return sorted(self.wall_s)[math.ceil(P95 * len(self.wall_s)) - 1]

    def median_core_s(self) -> float:
        """Return the processor seconds of the median round."""
        return statistics.median(self.core_s)

    def frames_per_second(self) -> float | None:
        """Return frames per wall second of the median round, None when it was too short for the clock."""
        return self.frames / self.median_s() if self.median_s() > 0.0 else None


class Stopwatch:
    """Wall and processor seconds by name, added up over one round. Time in a block counts to the innermost name alone.

    An engine's ``run`` returns arrays in the memory of the host, so it has waited for its device: a clock around it
    covers the work. Processor seconds are those of this process and of the processes that it has waited for.
    """

    def __init__(self) -> None:
        self.wall_s: dict[str, float] = {}
        self.core_s: dict[str, float] = {}
        self._inside: list[tuple[float, float]] = []  # time spent in the blocks inside every open one

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Add the time inside the block to ``name``."""
        self._inside.append((0.0, 0.0))
        wall_s, core_s = time.perf_counter(), core_seconds()
        try:
            yield
        finally:
            wall_s, core_s = time.perf_counter() - wall_s, core_seconds() - core_s
            inside_wall_s, inside_core_s = self._inside.pop()
            self.wall_s[name] = self.wall_s.get(name, 0.0) + wall_s - inside_wall_s
            self.core_s[name] = self.core_s.get(name, 0.0) + core_s - inside_core_s
            if self._inside:
                outer_wall_s, outer_core_s = self._inside[-1]
                self._inside[-1] = outer_wall_s + wall_s, outer_core_s + core_s


def timings(rounds: list[Stopwatch], frames: int) -> dict[str, Timing]:
    """Return the timings of all rounds by name, in the order in which the first round met them."""
    return {
        name: Timing(
            name,
            frames,
            tuple(watch.wall_s.get(name, 0.0) for watch in rounds),
            tuple(watch.core_s.get(name, 0.0) for watch in rounds),
        )
        for name in rounds[0].wall_s
    }


def core_seconds() -> float:
    """Return the processor seconds spent so far by this process and its ended children."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)
