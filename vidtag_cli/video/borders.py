"""Borders around the moving picture: bars, frames, blurred copies at the sides, found before anything is analysed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from vidtag_cli.errors import UsageError, VideoError
from vidtag_cli.video.border_edges import MIN_INFORMATIVE, MeasuredBox, is_borderless, measure_box
from vidtag_cli.video.info import VideoInfo
from vidtag_cli.video.limits import DEFAULT_LIMITS, DecodeLimits
from vidtag_cli.video.orientation import Orientation
from vidtag_cli.video.samples import sample_pictures, sampling_step

BordersOption = Literal["cut", "keep"] | tuple[int, int, int, int]
"""What is done with borders: found and cut away; kept; or so many pixels cut at left, top, right and bottom."""

_FOUR_WIDTHS = re.compile(r"([0-9]{1,6}),([0-9]{1,6}),([0-9]{1,6}),([0-9]{1,6})")

MIN_PICTURE_PX = 16

WORTH_TELLING = 0.1
"""The share of pictures with wider borders that is worth a note: a single one may be a title."""


@dataclass(frozen=True, slots=True)
class Borders:
    """Widths in pixels of the borders of the picture as shown, all even where they were found."""

    left_px: int = 0
    top_px: int = 0
    right_px: int = 0
    bottom_px: int = 0

    def __bool__(self) -> bool:
        return any(self.widths())

    def widths(self) -> tuple[int, int, int, int]:
        """Return the widths at left, top, right and bottom."""
        return self.left_px, self.top_px, self.right_px, self.bottom_px

    def as_stored(self, orientation: Orientation) -> Borders:
        """Return the borders of the stored picture, which is turned and mirrored to be shown."""
        left, top, right, bottom = self.widths()
        sides = [right, top, left, bottom] if orientation.is_mirrored else [left, top, right, bottom]
        turns = orientation.rotation_deg // 90
        return Borders(*sides[turns:], *sides[:turns])

    def as_shown(self, orientation: Orientation) -> Borders:
        """Return the borders of the shown picture, of those of the stored one."""
        sides = list(self.widths())
        turns = orientation.rotation_deg // 90
        left, top, right, bottom = sides[4 - turns :] + sides[: 4 - turns]
        return Borders(right, top, left, bottom) if orientation.is_mirrored else Borders(left, top, right, bottom)


NO_BORDERS = Borders()


@dataclass(frozen=True, slots=True)
class BorderReport:
    """What was cut away, whether it was ``found`` or ``given``, of what ``kinds`` it is, and what was looked at: how
    many ``pictures``, how many of them show anything, and how many of these have borders wider than those cut.
    """

    borders: Borders = NO_BORDERS
    source: Literal["found", "given", "kept"] = "kept"
    kinds: tuple[str, ...] = ()
    pictures: int = 0
    informative: int = 0
    wider_in: int = 0

    def notes(self, info: VideoInfo) -> tuple[str, ...]:
        """Return in words what a user must know of it."""
        notes = []
        if self.borders:
            left, top, right, bottom = self.borders.widths()
            width_px, height_px = info.display_size_wh
            notes.append(
                f"borders were cut away ({left} px at the left, {top} px at the top, {right} px at the right, {bottom} "
                f"px at the bottom: {width_px - left - right} x {height_px - top - bottom} of {width_px} x {height_px} "
                "pixels are analysed): --borders keep leaves them"
            )
        if self.wider_in > max(1, WORTH_TELLING * self.informative):
            notes.append(
                f"{self.wider_in} of {self.informative} pictures looked at have borders that others have not: only "
                "what is border in all of them is cut; locate the parts by themselves, or give --borders L,T,R,B"
            )
        return tuple(notes)

    def record(self) -> dict[str, Any]:
        """Return all of it as a JSON object."""
        left, top, right, bottom = self.borders.widths()
        return {
            "source": self.source, "kinds": list(self.kinds), "left_px": left, "top_px": top, "right_px": right,
            "bottom_px": bottom, "pictures_sampled": self.pictures, "pictures_informative": self.informative,
            "pictures_with_wider_borders": self.wider_in,
        }  # fmt: skip


def parse_borders(text: str) -> BordersOption:
    """Return what ``--borders`` asks for; raises UsageError when it cannot be understood."""
    widths = _FOUR_WIDTHS.fullmatch(text)
    if widths is not None:
        left, top, right, bottom = map(int, widths.groups())
        return left, top, right, bottom
    if text == "cut":
        return "cut"
    if text == "keep":
        return "keep"
    raise UsageError(f"--borders {text}: give cut, keep, or the widths in pixels: LEFT,TOP,RIGHT,BOTTOM")


def settle_borders(info: VideoInfo, option: BordersOption, limits: DecodeLimits = DEFAULT_LIMITS) -> BorderReport:
    """Return what to cut away of a probed video; raises VideoError when borders that were given leave no picture."""
    if option == "keep":
        return BorderReport()
    if option == "cut":
        return find_borders(info, limits)
    borders = Borders(*option)
    width_px, height_px = info.display_size_wh
    left, top, right, bottom = option
    if width_px - left - right < MIN_PICTURE_PX or height_px - top - bottom < MIN_PICTURE_PX:
        raise VideoError(
            f"{info.path}: --borders {left},{top},{right},{bottom} leaves less than {MIN_PICTURE_PX} pixels of its "
            f"{width_px} x {height_px} (as shown)"
        )
    return BorderReport(borders, "given")


def find_borders(info: VideoInfo, limits: DecodeLimits = DEFAULT_LIMITS) -> BorderReport:
    """Return the borders that all pictures of a video have in common, from a few pictures of it."""
    pictures = sample_pictures(info, limits, is_borderless, MIN_INFORMATIVE)
    measured = measure_box(pictures)
    if measured is None:
        return BorderReport(NO_BORDERS, "found", pictures=len(pictures))
    stored = _whole_pixels(measured, info)
    return BorderReport(
        stored.as_shown(info.orientation), "found", measured.kinds, len(pictures), measured.informative,
        measured.wider,
    )  # fmt: skip


def _whole_pixels(measured: MeasuredBox, info: VideoInfo) -> Borders:
    """Return the borders of the stored picture: even on all sides, for the sake of subsampled colour, and rounded
    towards the picture's middle.
    """
    if not measured.kinds:
        return NO_BORDERS
    step = sampling_step(info)
    left, top, right, bottom = measured.box
    ends = []
    for begin, end, sampled, stored in (
        (left, right, -(-info.width_px // step), info.width_px),
        (top, bottom, -(-info.height_px // step), info.height_px),
    ):
        first = 0 if begin == 0 else -(-begin * step // 2) * 2
        after = stored if end == sampled else ((end - 1) * step + 1 - first) // 2 * 2 + first
        ends.append((first, stored - after))
    (left_px, right_px), (top_px, bottom_px) = ends
    return Borders(left_px, top_px, right_px, bottom_px)
