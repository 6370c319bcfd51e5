"""The track beside a video: the file of the same name that can be its truth."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidtag_cli.errors import InputError
from vidtag_cli.positions.reading import EMBEDDED_READERS, READERS, read_position_file

SUFFIXES = tuple(suffix for suffix in READERS if suffix != ".txt")
"""Beside a video a ``.txt`` is a note more often than a table; as a truth it must be named."""


@dataclass(frozen=True, slots=True)
class TracksBeside:
    """The files of a video's name that hold positions: those that can be its truth, and those that vidtag wrote, each
    with the mark by which it is known.
    """

    candidates: tuple[Path, ...]
    own_outputs: tuple[tuple[Path, str], ...]

    def own_text(self) -> str:
        """Return the files that were passed over because vidtag wrote them."""
        return ", ".join(f"{path.name} ({mark})" for path, mark in self.own_outputs)


def tracks_beside(video: Path) -> TracksBeside:
    """Return the tracks beside a video, in order of their names; suffixes in any case."""
    candidates, own_outputs = [], []
    for path in _same_name(video):
        mark = _own_mark(path)
        if mark is None:
            candidates.append(path)
        else:
            own_outputs.append((path, mark))
    return TracksBeside(tuple(candidates), tuple(own_outputs))


def only_candidate(video: Path, beside: TracksBeside) -> Path:
    """Return the one file that can be the truth of a video. Raises InputError, with the files, when there are several
    or none.
    """
    if len(beside.candidates) > 1:
        listed = ", ".join(path.name for path in beside.candidates)
        raise InputError(f"{video}: several tracks beside it ({listed}): name the true one with --truth")
    if beside.candidates:
        return beside.candidates[0]
    looked_for = ", ".join(f"{video.stem}{suffix}" for suffix in SUFFIXES)
    own = f"; written by vidtag itself, and so no truth: {beside.own_text()}" if beside.own_outputs else ""
    embedded = "; --truth embedded reads a GoPro's own GPS" if video.suffix.lower() in EMBEDDED_READERS else ""
    raise InputError(f"{video}: no true track beside it ({looked_for}){own}: name it with --truth{embedded}")


def _same_name(video: Path) -> Sequence[Path]:
    try:
        names = sorted(os.listdir(video.parent))
    except OSError:
        return []
    paths = [video.parent / name for name in names if name.startswith(video.stem)]
    return [path for path in paths if path.stem == video.stem and path.suffix.lower() in SUFFIXES and path.is_file()]


def _own_mark(path: Path) -> str | None:
    try:
        return read_position_file(path).contents.own_mark
    except InputError:
        return None  # what is wrong with it is said when it is read as a truth
