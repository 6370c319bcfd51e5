"""Where the moving picture lies within a few pictures of a video: straight edges, the same in all of them.

A flat border has one colour, up to a sharp straight edge; letters, which cover less than half of a line, may stand in
it. A blurred border, the copy of an upright picture that fills a screen, has hardly any detail up to such an edge. Both
lie on opposite sides; only a black one may be alone. A night sky is no border: where it ends is neither straight nor
sharp, and it has no counterpart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

INFORMATIVE_SPREAD_LEVELS = 8.0
"""Pictures whose brightness varies by less, as in a fade, say nothing of where they end."""

MIN_INFORMATIVE = 3

COLOUR_TOLERANCE_LEVELS = 12
"""How far a pixel of a border may be from the border's colour: what compression does to an edge nearby."""

FLAT_LEVELS = 4
"""Four fifths of a border's pixels are as near as this to its colour; a dark sky has more noise."""

BLACK_LEVELS = 24
"""A border without a counterpart is darker than this."""

MIN_BORDER_SHARE = 0.01
MIN_PICTURE_SHARE = 0.15
"""Of a side: thinner borders do not matter to a model, and less than this of a side is no picture."""

_PARTS_OF_A_LINE = 16
_PICTURE_LINE = 0.5
_FULL_LINE = 0.75
_EDGE_RISE = 0.5
_EDGE_LINES = 2
"""A line belongs to the picture where three quarters of it have another colour than the border, or half of its emptiest
quarter. At an edge one of these shares rises by half between two lines before it and two after.
"""

_MIN_SHARP_SHARE = 0.3
"""Of the pictures must show the edge: in the others the picture itself may be dark up to there."""

_BLUR_RATIO = 3.0
_BLUR_EDGE_LEVELS = 6
_BLUR_EDGE_SHARE = 0.4
"""A blurred border has a third of the picture's detail at most; across its edge brightness jumps by so many levels, in
so much of the line.
"""

_PIXELS_OF_A_LINE = 128
"""Enough to tell a share of it."""

_PASSES = 3
"""Borders within borders: a picture with bars, in the middle of a screen."""

Box = tuple[int, int, int, int]
"""First column, first row, the column after the last, the row after the last."""


@dataclass(frozen=True, slots=True)
class MeasuredBox:
    """The part of all pictures in which any of them moves, in samples; how many pictures told; how many of these have
    wider borders than that; and the kinds of border that were cut: ``flat``, ``blurred``.
    """

    box: Box
    informative: int
    wider: int
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """What one picture says of one side: ``depth`` lines come before the first line of picture, whether they are flat
    and end in a sharp edge, and their ``colour`` (3,); whether nothing in the picture is brighter than that.
    """

    depth: int
    is_sharp: bool
    colour: np.ndarray
    is_brightest: bool = False


def is_informative(picture: np.ndarray) -> bool:
    """Return whether a picture (h, w, 3) shows anything at all."""
    return float(picture[::4, ::4, 1].std()) >= INFORMATIVE_SPREAD_LEVELS


def is_borderless(picture: np.ndarray) -> bool:
    """Return whether a picture (h, w, 3) shows something up to the edges, so that no border is common to all."""
    if not is_informative(picture):
        return False
    for lines in _both_axes(picture, (0, 0, picture.shape[1], picture.shape[0])):
        near, far = _edge_colour(lines), _edge_colour(lines[::-1])
        if near is not None and far is not None and _is_one_colour(near, far):
            return False
        if any(colour is not None and colour.max() <= BLACK_LEVELS for colour in (near, far)):
            return False
        detail = _detail([lines])
        ends, depth = np.quantile(detail, 0.9) / 2.0, _min_depth(len(lines))
        if detail[:depth].max() < ends and detail[-depth:].max() < ends:
            return False
    return True


def measure_box(pictures: Sequence[np.ndarray]) -> MeasuredBox | None:
    """Return where the picture lies within pictures (h, w, 3) uint8 of one size; None where too few of them show
    anything.
    """
    telling = [picture for picture in pictures if is_informative(picture)]
    if len(telling) < MIN_INFORMATIVE:
        return None
    height, width = telling[0].shape[:2]
    whole = box = (0, 0, width, height)
    wider, kinds = 0, set[str]()
    for _ in range(_PASSES):
        inner, with_wider = _flat_box(telling, box)
        wider, kind = with_wider, "flat"
        if inner == box:
            inner, kind = _blurred_box(telling, box), "blurred"
        if inner == box:
            break
        kinds.add(kind)
        box = inner
    if box[2] - box[0] < MIN_PICTURE_SHARE * width or box[3] - box[1] < MIN_PICTURE_SHARE * height:
        return MeasuredBox(whole, len(telling), 0, ())
    return MeasuredBox(box, len(telling), wider, tuple(sorted(kinds)))


def _both_axes(picture: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Return columns (w, m, 3) and rows (h, m, 3) int16 of the part of a picture in a box, some pixels m of each."""
    left, top, right, bottom = box
    part = picture[top:bottom, left:right]
    columns, rows = (
        part[:: max(1, len(part) // _PIXELS_OF_A_LINE)],
        part[:, :: max(1, part.shape[1] // _PIXELS_OF_A_LINE)],
    )
    return columns.transpose(1, 0, 2).astype(np.int16), rows.astype(np.int16)


def _min_depth(lines: int) -> int:
    return max(1, round(MIN_BORDER_SHARE * lines))


def _is_one_colour(first: np.ndarray, second: np.ndarray) -> bool:
    return bool(np.abs(first - second).max() <= COLOUR_TOLERANCE_LEVELS)


def _flat_box(pictures: Sequence[np.ndarray], box: Box) -> tuple[Box, int]:
    """Return the part of a box within flat borders, and in how many pictures these are wider.

    First with lines through all of the box, of which a small picture covers little; then through that part alone.
    """
    rough = box
    for across in (box, None):
        part = across or rough
        near_far, wider = [], 0
        for axis in (0, 1):
            within = _across(box, part, axis)
            depths, with_wider = _flat_depths([_both_axes(picture, within)[axis] for picture in pictures])
            near_far.append(depths)
            wider = max(wider, with_wider)
        (left, right), (top, bottom) = near_far
        rough = (box[0] + left, box[1] + top, box[2] - right, box[3] - bottom)
        if rough == box or rough[2] - rough[0] < 1 or rough[3] - rough[1] < 1:
            return box, wider
    return rough, wider


def _across(box: Box, part: Box, axis: int) -> Box:
    """Return the box whose lines along an axis are those of ``box``, and go through ``part`` only."""
    return (box[0], part[1], box[2], part[3]) if axis == 0 else (part[0], box[1], part[2], box[3])


def _flat_depths(pictures: Sequence[np.ndarray]) -> tuple[tuple[int, int], int]:
    """Return how deep the flat borders before and after the lines (n, m, 3) of all pictures are, and how many pictures
    have wider ones.
    """
    near, far = _sides(pictures), _sides([lines[::-1] for lines in pictures])
    lines = len(pictures[0])
    depths = [_common_depth(sides, lines) for sides in (near, far)]
    colours = [_sharp_colour(sides) for sides in (near, far)]
    if depths[0] and depths[1] and colours[0] is not None and colours[1] is not None:
        common = (depths[0], depths[1]) if _is_one_colour(colours[0], colours[1]) else (0, 0)
    else:
        common = _one_edge(near, far, depths, colours)
    least = max(2, 2 * _min_depth(lines))
    wider = sum(
        before.is_sharp and after.is_sharp and _is_one_colour(before.colour, after.colour)
        and before.depth + after.depth > sum(common) + 2 * least
        for before, after in zip(near, far, strict=True)
    )  # fmt: skip
    return common, wider


def _one_edge(
    near: Sequence[_Side], far: Sequence[_Side], depths: Sequence[int], colours: Sequence[np.ndarray | None]
) -> tuple[int, int]:
    """Return the depths where one side alone has an edge: both as deep where the picture on the other side is merely
    as dark, else a border on one side, if it is black.
    """
    for number, other in ((0, far), (1, near)):
        depth, colour = depths[number], colours[number]
        if not depth or colour is None:
            continue
        reach = min(side.depth if _is_one_colour(side.colour, colour) else 0 for side in other)
        if reach >= depth - 1:
            return depth, depth
        if colour.max() <= BLACK_LEVELS:
            return (depth, 0) if number == 0 else (0, depth)
    return 0, 0


def _common_depth(sides: Sequence[_Side], lines: int) -> int:
    """Return how many lines are border in every picture, 0 where too few pictures show the edge."""
    colour = _sharp_colour(sides)
    if colour is None:
        return 0
    telling = [side for side in sides if not _is_faded(side, colour)]
    reach = [side.depth if side.is_sharp or _is_one_colour(side.colour, colour) else 0 for side in telling]
    depth = min(reach)
    seen = sum(side.is_sharp and abs(side.depth - depth) <= 1 for side in telling)
    return depth if depth >= _min_depth(lines) and seen >= max(2, _MIN_SHARP_SHARE * len(telling)) else 0


def _is_faded(side: _Side, colour: np.ndarray) -> bool:
    """Return whether all of a picture is dimmed, its bright border too: it says nothing of where that ends."""
    return side.is_brightest and side.colour.max() < colour.max() - COLOUR_TOLERANCE_LEVELS


def _sharp_colour(sides: Sequence[_Side]) -> np.ndarray | None:
    colours = [side.colour for side in sides if side.is_sharp]
    return np.median(colours, axis=0) if colours else None


def _edge_colour(lines: np.ndarray) -> np.ndarray | None:
    """Return the colour (3,) float64 of the outermost lines, None where they are not flat."""
    outermost = lines[: _min_depth(len(lines))]
    colour = np.median(outermost, axis=(0, 1))
    off = _deviation(outermost, colour) > COLOUR_TOLERANCE_LEVELS
    return colour if off.mean() < _PICTURE_LINE else None


def _sides(pictures: Sequence[np.ndarray]) -> list[_Side]:
    """Return what each picture says of the side that its lines (n, m, 3) begin with."""
    colours = [_edge_colour(lines) for lines in pictures]
    shares = [
        np.zeros((2, len(lines))) if colour is None else _shares_off(lines, colour)
        for lines, colour in zip(pictures, colours, strict=True)
    ]
    # A small picture covers a part of each line only: what the fullest lines have is all that there can be.
    full = np.quantile(shares, 0.95, axis=2).max(axis=0)  # (2,)
    return [_side(lines, colour, share, full) for lines, colour, share in zip(pictures, colours, shares, strict=True)]


def _deviation(lines: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Return (n, m) how many levels pixels (n, m, 3) are from a colour, in the channel that differs most."""
    red, green, blue = np.abs(lines - colour.astype(np.int16)).transpose(2, 0, 1)
    return np.maximum(np.maximum(red, green), blue)


def _shares_off(lines: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Return (2, n): how much of each line (m, 3) has another colour, of all of it and of the emptiest quarter of it.

    Letters of a subtitle leave the ends of a line empty, wide as it may be; a picture does not.
    """
    off = _deviation(lines, colour) > COLOUR_TOLERANCE_LEVELS
    parts = np.stack([part.mean(axis=1) for part in np.array_split(off, min(_PARTS_OF_A_LINE, off.shape[1]), axis=1)])
    emptiest = np.sort(parts, axis=0)[: max(1, len(parts) // 4)].mean(axis=0)
    return np.stack([off.mean(axis=1), emptiest])


def _side(lines: np.ndarray, colour: np.ndarray | None, shares: np.ndarray, full: np.ndarray) -> _Side:
    if colour is None or full[0] == 0.0:
        return _Side(0, False, np.zeros(3))
    is_picture = shares[0] >= _FULL_LINE * full[0]
    if full[1] > 0.0:
        is_picture |= shares[1] >= _PICTURE_LINE * full[1]
    depth = int(is_picture.argmax()) if is_picture.any() else len(lines)
    before = shares[:, max(0, depth - _EDGE_LINES)]
    after = shares[:, depth : depth + _EDGE_LINES + 1].max(axis=1, initial=0.0)
    inside = depth + _EDGE_LINES + 1
    beyond = shares[:, inside : inside + max(4, _min_depth(3 * len(lines)))]
    is_edge = (after - before >= _EDGE_RISE * full) & (full > 0.0)
    # Beyond the edge must be picture, and not a line that is drawn on a plain ground.
    is_sharp = 0 < depth < len(lines) and beyond.size > 0
    is_sharp = is_sharp and bool((is_edge & (beyond.mean(axis=1) >= _PICTURE_LINE * full)).any())
    if is_sharp:
        is_sharp = bool(np.quantile(_deviation(lines[:depth], colour), 0.8) <= FLAT_LEVELS)
    is_brightest = bool(np.quantile(lines.max(axis=-1), 0.95) <= 1.1 * colour.max() + COLOUR_TOLERANCE_LEVELS)
    return _Side(depth, is_sharp, colour, is_brightest)


def _blurred_box(pictures: Sequence[np.ndarray], box: Box) -> Box:
    """Return the part of a box within blurred borders, which lie on two opposite sides."""
    columns, rows = zip(*(_both_axes(picture, box) for picture in pictures), strict=True)
    left, top, right, bottom = box
    for axis, lines in enumerate((columns, rows)):
        depths = _blurred_depths(lines)
        if depths is not None and all(_blurred_depths([part], depths) for part in lines):
            near, far = depths
            return (left + near, top, right - far, bottom) if axis == 0 else (left, top + near, right, bottom - far)
    return box


def _detail(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Return (n,) how much brightness bends along each line (m, 3) of pictures, on average: a gradient has none."""
    return np.mean([np.abs(np.diff(lines[:, :, 1], n=2, axis=1)).mean(axis=1) for lines in pictures], axis=0)


def _blurred_depths(pictures: Sequence[np.ndarray], expected: tuple[int, int] | None = None) -> tuple[int, int] | None:
    """Return how deep the blurred borders before and after the lines (n, m, 3) of pictures are, None without any.

    ``expected`` are those of other pictures of the video, which must hold for these.
    """
    count = len(pictures[0])
    if count < 16 or pictures[0].shape[1] < 16:
        return None
    detail = _detail(pictures)
    has_detail = detail >= np.quantile(detail, 0.9) / 2.0
    near, far = expected or (int(has_detail.argmax()), int(has_detail[::-1].argmax()))
    if min(near, far) < max(4, _min_depth(count)) or abs(near - far) > max(2, 0.02 * count):
        return None
    within = detail[near + 1 : count - far - 1]
    outside = np.concatenate([detail[: near - 1], detail[count - far + 1 :]])
    if within.size == 0 or np.quantile(outside, 0.9) * _BLUR_RATIO > np.median(within):
        return None
    steps = [(np.abs(np.diff(lines[:, :, 1], axis=0)) >= _BLUR_EDGE_LEVELS).mean(axis=1) for lines in pictures]
    shares = np.mean(steps, axis=0)  # (n - 1,) of each line that differ from the next
    edges = (shares[near - 2 : near + 1].max(), shares[count - far - 2 : count - far + 1].max())
    return (near, far) if expected or min(edges) >= _BLUR_EDGE_SHARE else None
