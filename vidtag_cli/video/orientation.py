"""How a stored picture is turned and mirrored before it is shown: the display matrix of a video."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

_MATRIX = struct.Struct("=9i")
_QUARTER_TURN_DEG = 90
_SLANT_TOLERANCE_DEG = 1.0
"""ffmpeg too takes a matrix within one degree of a quarter turn for that turn."""


@dataclass(frozen=True, slots=True)
class Orientation:
    """First a clockwise turn by 0, 90, 180 or 270 degrees, then, if mirrored, an exchange of left and right.

    ``is_exact`` is False when the file asks for another angle, which was rounded to the nearest quarter turn.
    """

    rotation_deg: int = 0
    is_mirrored: bool = False
    is_exact: bool = True

    @property
    def swaps_sides(self) -> bool:
        """Whether the shown width is the stored height."""
        return self.rotation_deg in (90, 270)


def orientation_from_matrix(matrix: bytes) -> Orientation:
    """Return the orientation that a display matrix asks for: nine native 32-bit integers, as libavutil hands it out.

    The matrix takes a stored point (x, y), y downwards, to (a x + c y, b x + d y) with a, b, c, d at 0, 1, 3, 4. Raises
    ValueError when it is too short or does not span the plane.
    """
    if len(matrix) < _MATRIX.size:
        raise ValueError(f"a display matrix has {_MATRIX.size} bytes, not {len(matrix)}")
    a, b, _, c, d, *_ = _MATRIX.unpack(matrix[: _MATRIX.size])
    determinant = a * d - b * c
    if determinant == 0:
        raise ValueError("the display matrix does not span the plane")
    is_mirrored = determinant < 0
    if is_mirrored:  # undo the exchange of left and right, which comes last
        a, c = -a, -c
    # Stored x, the vector (1, 0), is shown along (a, b): with y downwards, atan2 counts clockwise.
    angle_deg = math.degrees(math.atan2(b, a))
    quarter_turns = round(angle_deg / _QUARTER_TURN_DEG)
    is_exact = abs(angle_deg - quarter_turns * _QUARTER_TURN_DEG) <= _SLANT_TOLERANCE_DEG
    return Orientation(quarter_turns % 4 * _QUARTER_TURN_DEG, is_mirrored, is_exact)
