"""Pictures that repeat each other count once (docs/method.md 3.8): a still camera, a photograph that is held, frames
closer than the model's pace.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vidtag_cli.pipeline.windows import Outputs
from vidtag_cli.track import TrackPoint
from vidtag_cli.video.batches import FrameBatch

SAME_PICTURE = 0.16
"""Two pictures that differ less are one. Of 1,800 clean steps of flights, 20 to 50 km each, the least differs by 0.174;
of pairs of one photograph, encoded at CRF 23 to 42, 99 % differ by less than 0.137, under grain of 10 levels 95 % by
less than 0.147, of 20 levels half by less than 0.128. A walk, a drive on a freeway and a station at one frame a second
have no step below it. Chosen with these pairs in sight.
"""

CELLS = 8
"""A picture is compared in so many cells either way: their means even out what an encoder makes of the same picture."""

_TEXTURED_LEVELS = 1.0
"""Cells whose pixels differ by less show no detail that could move: bars, captions' boxes, a plain sky."""

_LEAST_LEVELS = 2.0
"""The detail in a cell counts for at least so much, lest rounding to whole levels look like movement."""

_MOST_DIFFERENCE = 2.0

KEPT_PICTURES = 128
"""Pictures that later frames are compared with; a loop of more of them is not seen. 20 MB at 224 pixels a side."""

_SAME_FEATURES = 5e-4
"""Of the length of a frame's features: what rounding makes of equal pixels in another batch, half precision included.
The nearest pictures that are not one lie forty times as far apart.
"""


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    """A picture that is none of the earlier: its frame's number and pixels (H, W, 3) uint8."""

    source_index: int
    rgb: np.ndarray


class PictureFinder:
    """Says which frames show the picture of an earlier one, among the last ``KEPT_PICTURES`` different ones.

    Frames are compared with the first that showed a picture and not with the one before them, so that a camera in slow
    motion does not creep along unseen.
    """

    def __init__(self) -> None:
        self._pictures: deque[_Picture] = deque(maxlen=KEPT_PICTURES)
        self._means: deque[np.ndarray] = deque(maxlen=KEPT_PICTURES)
        self._details: deque[np.ndarray] = deque(maxlen=KEPT_PICTURES)

    def find(self, source_index: int, rgb: np.ndarray) -> _Picture:
        """Return the nearest earlier picture that this frame (H, W, 3) uint8 repeats, or the frame's own."""
        means, detail = cell_statistics(rgb)
        if self._pictures:
            difference = picture_difference(np.stack(self._means), np.stack(self._details), means, detail)
            nearest = int(difference.argmin())
            if difference[nearest] <= SAME_PICTURE:
                return self._pictures[nearest]
        picture = _Picture(source_index, rgb.copy())
        self._pictures.append(picture)
        self._means.append(means)
        self._details.append(detail)
        return picture


def cell_statistics(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean colours (C, 3) and the detail (C,) of the cells of a picture (H, W, 3) uint8, float32 in levels.

    The detail of a cell is the standard deviation of its pixels, averaged over the colours.
    """
    edges = [np.arange(min(CELLS, side)) * side // min(CELLS, side) for side in rgb.shape[:2]]

    def cell_sums(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(np.add.reduceat(values, edges[0], axis=0), edges[1], axis=1)  # (8, 8, ...)

    levels = rgb.astype(np.float32)
    pixels = cell_sums(np.ones(rgb.shape[:2], np.float32))[..., None]
    means = cell_sums(levels) / pixels
    variance = np.maximum(cell_sums(levels**2) / pixels - means**2, 0.0)
    return means.reshape(-1, 3), np.sqrt(variance).mean(axis=-1).ravel()


def picture_difference(
    means: np.ndarray, details: np.ndarray, other_means: np.ndarray, other_detail: np.ndarray
) -> np.ndarray:
    """Return how much pictures with cells (N, C, 3) and (N, C) differ from another one with (C, 3) and (C,): (N,).

    The change of a cell's mean over the detail inside the cell, averaged over the cells that have detail; a change of
    light over the whole picture does not count. Where no cell has detail all are compared, by levels: blank pictures
    are one, and so are tiny ones, of a pixel a cell, that are equal.
    """
    change = means - other_means
    change = change - np.median(change, axis=1, keepdims=True)
    detail = (details + other_detail) / 2.0
    relative = np.sqrt((change**2).mean(axis=-1)) / np.maximum(detail, _LEAST_LEVELS)
    is_compared = detail >= _TEXTURED_LEVELS
    is_compared |= ~is_compared.any(axis=1, keepdims=True)
    total = (np.minimum(relative, _MOST_DIFFERENCE) * is_compared).sum(axis=1)
    difference: np.ndarray = total / is_compared.sum(axis=1)
    return difference


def hold_repeats(batches: Iterable[FrameBatch]) -> Iterator[FrameBatch]:
    """Yield the same frames; one that repeats an earlier picture has the pixels of that picture, and its facts say so.

    All that a model makes of the frames of a still photograph is thereby what it makes of the first, however many of
    them are analysed and whatever the encoder did to them.
    """
    finder = PictureFinder()
    for batch in batches:
        pictures = [
            finder.find(facts.source_index, rgb) for facts, rgb in zip(batch.facts, batch.frames_rgb, strict=True)
        ]
        repeats = [
            None if picture.source_index == facts.source_index else picture.source_index
            for picture, facts in zip(pictures, batch.facts, strict=True)
        ]
        if not any(number is not None for number in repeats):
            yield batch
            continue
        facts = tuple(replace(facts, repeats=number) for facts, number in zip(batch.facts, repeats, strict=True))
        yield FrameBatch(np.stack([picture.rgb for picture in pictures]), facts)


def run_distinct(windows: np.ndarray, run_windows: Callable[[np.ndarray], Outputs]) -> Outputs:
    """Return the outputs (W, T, ...) of windows (W, T, D), in which frames with equal features are run as one frame.

    So a picture is never its own neighbour: it neither confirms itself nor outvotes the others by being there longer.
    """
    first_equal = np.stack([_first_equal(window) for window in windows])  # (W, T)
    is_plain = (first_equal == np.arange(windows.shape[1])).all(axis=1)
    if is_plain.all():
        return run_windows(windows)
    parts: dict[int, Outputs] = {}
    if is_plain.any():
        plain = run_windows(windows[is_plain])
        for row, number in enumerate(np.flatnonzero(is_plain).tolist()):
            parts[number] = {name: values[row] for name, values in plain.items()}
    for number in np.flatnonzero(~is_plain).tolist():
        kept, frame_of = np.unique(first_equal[number], return_inverse=True)
        outputs = run_windows(np.ascontiguousarray(windows[number, kept][None]))
        parts[number] = {name: values[0, frame_of] for name, values in outputs.items()}
    return {name: np.stack([parts[number][name] for number in range(len(windows))]) for name in parts[0]}


def _first_equal(features: np.ndarray) -> np.ndarray:
    """Return for each frame (T, D) the number of the first with the same features, but for rounding: (T,) int64."""
    distance = np.linalg.norm(features[:, None] - features[None], axis=-1)
    is_equal = distance <= _SAME_FEATURES * np.linalg.norm(features, axis=-1)
    first: np.ndarray = is_equal.argmax(axis=1)
    return first[first]  # the first of that one, where nearness is not shared


def pictures_of(points: Sequence[TrackPoint]) -> np.ndarray:
    """Return for each estimate the number of the frame that first showed its picture, (N,) int64."""
    numbers = [point.frame_index if point.repeats_frame is None else point.repeats_frame for point in points]
    return np.array(numbers, np.int64)


def split_held(points: Sequence[TrackPoint]) -> list[slice]:
    """Return the spans of consecutive estimates that show one picture, in order."""
    if not points:
        return []
    begins = [0, *(np.flatnonzero(np.diff(pictures_of(points))) + 1).tolist()]
    return [slice(begin, end) for begin, end in zip(begins, [*begins[1:], len(points)], strict=True)]


def evidence_weights(points: Sequence[TrackPoint], frames_a_step: int) -> np.ndarray:
    """Return how much each of some frames counts beside the others, (N,) float64: 1 for one that stands for itself.

    All frames of one picture count together for as many steps of the model's pace as they last, and for one at most.
    ``frames_a_step`` is that of :func:`~vidtag_cli.pipeline.windows.frames_per_step`: frames that come several in a
    step share its weight.
    """
    _, picture, count = np.unique(pictures_of(points), return_inverse=True, return_counts=True)
    weights: np.ndarray = (np.minimum(1.0, count / frames_a_step) / count)[picture]
    return weights
