"""Times of a video whose clock starts again on the way, put behind each other: joined files, restarts, wraps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from vidtag_cli.video.packets import WRAP_TICKS, TimedPart

Picture = TypeVar("Picture")
Placed = tuple[int, int, Picture]


class TimeBridge(Generic[Picture]):
    """Gives decoded pictures, in their order, times that rise over all ``parts`` of a video.

    A picture whose time goes back is the first of a later part if the next picture goes on from there, and otherwise
    misplaced and left out: ``misplaced`` counts these. So the latest picture may be held back until the next one.
    ``is_wrapping`` is for clocks that begin anew after 2**33 ticks.
    """

    def __init__(self, parts: Sequence[TimedPart], is_wrapping: bool) -> None:
        self.misplaced = 0
        self._parts = parts
        self._periods = (0, WRAP_TICKS, -WRAP_TICKS) if is_wrapping else (0,)
        self._number = 0
        self._latest_pts: int | None = None
        self._held: tuple[int, int, Picture] | None = None

    def add(self, pts: int | None, picture: Picture) -> list[Placed[Picture]]:
        """Return the pictures whose place is now known: bridged time in ticks, number of the part, picture."""
        if pts is None:
            self.misplaced += 1
            return []
        here = self._time_in(self._number, pts)
        if here is not None and (self._latest_pts is None or here > self._latest_pts):
            self._drop_held()
            self._latest_pts = here
            return [(here + self._parts[self._number].offset, self._number, picture)]
        placed = self._confirm_held(pts)
        if placed:
            return placed + self.add(pts, picture)
        self._drop_held()
        part, there = self._in_later_part(pts)
        if part is None:
            self.misplaced += 1
            return []
        self._held = (part, there, picture)
        return []

    def finish(self) -> list[Placed[Picture]]:
        """Return the picture that was held back, if there is one: the only one of the last part."""
        return self._release()

    def _confirm_held(self, pts: int) -> list[Placed[Picture]]:
        """Return the held picture, if the time of the next one follows it in its part."""
        if self._held is None:
            return []
        part, held_pts, _ = self._held
        following = self._time_in(part, pts)
        return self._release() if following is not None and following > held_pts else []

    def _release(self) -> list[Placed[Picture]]:
        if self._held is None:
            return []
        self._number, self._latest_pts, picture = self._held
        self._held = None
        return [(self._latest_pts + self._parts[self._number].offset, self._number, picture)]

    def _drop_held(self) -> None:
        self.misplaced += self._held is not None
        self._held = None

    def _in_later_part(self, pts: int) -> tuple[int | None, int]:
        for number in range(self._number + 1, len(self._parts)):
            there = self._time_in(number, pts)
            if there is not None:
                return number, there
        return None, 0

    def _time_in(self, number: int, pts: int) -> int | None:
        """Return the time as a part counts it, or None when it is not of that part."""
        part = self._parts[number]
        return next((pts + period for period in self._periods if part.first_pts <= pts + period <= part.last_pts), None)
