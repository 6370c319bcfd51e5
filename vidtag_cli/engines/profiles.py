"""Optimisation profiles: which shapes an engine is built for, and which of them serves a call.

An engine is fast for the shapes it was tuned for. One range from 1 to 256 would be tuned for neither end, so each kind
of graph has two regimes, a handful and plenty:

| what is counted | few: least, best, most | many: least, best, most | other free letters |
| --- | --- | --- | --- |
| frames of ``frames_rgb`` (N) | 1, 4, 8 | 16, 128, 256 | none |
| positions (N) | 1, 16, 64 | 128, 4096, 4096 | none |
| clips or windows (B) | 1, 1, 1 | 2, 8, 16 | T: 1, window, window |

A batch is padded up to the next power of two, so that few shapes occur and each can be bound and captured once; more
than the most are run in parts. T is never padded: the temporal modules attend to every frame they are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vidtag_cli.bundle.contract import Dimension
from vidtag_cli.bundle.load import ModelGraph
from vidtag_cli.errors import ModelError

DEFAULT_WINDOW_FRAMES = 16
"""The window of the paper, where a caller does not say the bundle's own."""


@dataclass(frozen=True, slots=True)
class SizeRange:
    """The sizes one letter may have in a profile, and the one the engine is tuned for."""

    least: int
    best: int
    most: int


Profile = dict[str, SizeRange]
"""Letter to the sizes it may have."""

FRAMES = (SizeRange(1, 4, 8), SizeRange(16, 128, 256))
POSITIONS = (SizeRange(1, 16, 64), SizeRange(128, 4096, 4096))
CLIPS = (SizeRange(1, 1, 1), SizeRange(2, 8, 16))


@dataclass(frozen=True, slots=True)
class ProfileSet:
    """The profiles of one graph; ``batch_letter`` is the letter along which rows are independent of each other."""

    graph: str
    batch_letter: str
    profiles: tuple[Profile, ...]

    @property
    def most_rows(self) -> int:
        return self.profiles[-1][self.batch_letter].most

    def most_sizes(self) -> dict[str, int]:
        """Return the largest size of every free letter: what buffers must hold."""
        return {letter: max(p[letter].most for p in self.profiles) for letter in self.profiles[0]}

    def padded_rows(self, rows: int) -> int:
        """Return the batch that is run for ``rows`` rows: the next power of two."""
        return 1 << (rows - 1).bit_length()

    def serving(self, sizes: Mapping[str, int]) -> int:
        """Return the index of the profile that holds the sizes; raises ModelError when none does."""
        for index, profile in enumerate(self.profiles):
            if all(profile[letter].least <= size <= profile[letter].most for letter, size in sizes.items()):
                return index
        limits = {letter: f"at most {most}" for letter, most in self.most_sizes().items()}
        raise ModelError(f"{self.graph}: the engine was built for {limits}, but was given {dict(sizes)}")

    def is_usual(self, sizes: Mapping[str, int]) -> bool:
        """Return whether every letter but the batch has the size that the engine is tuned for."""
        profile = self.profiles[self.serving(sizes)]
        return all(size == profile[letter].best for letter, size in sizes.items() if letter != self.batch_letter)

    def as_one(self) -> ProfileSet:
        """Return one profile for every size of this set, tuned as the last of them is.

        For a library that builds several but runs all calls in the first.
        """
        first, last = self.profiles[0], self.profiles[-1]
        joined = {letter: SizeRange(first[letter].least, size.best, size.most) for letter, size in last.items()}
        return ProfileSet(self.graph, self.batch_letter, (joined,))

    def as_json(self) -> list[dict[str, list[int]]]:
        """Return the profiles as letter to [least, best, most]."""
        return [{letter: [r.least, r.best, r.most] for letter, r in sorted(p.items())} for p in self.profiles]


def profiles_of(graph: ModelGraph, window_frames: int | None = None) -> ProfileSet:
    """Return the profiles of a graph from the letters of its contract and the bundle's window."""
    window = window_frames or DEFAULT_WINDOW_FRAMES
    letters = dict.fromkeys(d for tensor in graph.inputs for d in tensor.shape if isinstance(d, str))
    batch, *others = letters
    if batch == "B":
        regimes = CLIPS
    elif any(tensor.dtype == "uint8" for tensor in graph.inputs):
        regimes = FRAMES
    else:
        regimes = POSITIONS
    if batch not in ("B", "N") or others not in ([], ["T"]):
        raise ModelError(f"{graph.name}: no profile is known for the free letters {', '.join(letters)}")
    rest = {letter: SizeRange(1, window, window) for letter in others}
    return ProfileSet(graph.name, batch, tuple({batch: rows} | rest for rows in regimes))


def filled_shape(shape: tuple[Dimension, ...], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Return a shape of the contract with numbers for all its letters."""
    return tuple(sizes[dimension] if isinstance(dimension, str) else dimension for dimension in shape)
