from __future__ import annotations

import struct

import pytest

from vidtag_cli.video.orientation import Orientation, orientation_from_matrix

ONE = 1 << 16


def _matrix(a: int, b: int, c: int, d: int) -> bytes:
    return struct.pack("=9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)


@pytest.mark.parametrize(
    ("abcd", "rotation_deg", "is_mirrored"),
    [
        ((1, 0, 0, 1), 0, False),
        ((0, 1, -1, 0), 90, False),  # to the right becomes downwards: a quarter turn clockwise
        ((-1, 0, 0, -1), 180, False),
        ((0, -1, 1, 0), 270, False),
        ((-1, 0, 0, 1), 0, True),
        ((0, 1, 1, 0), 90, True),
        ((1, 0, 0, -1), 180, True),
        ((0, -1, -1, 0), 270, True),
    ],
)
def test_the_eight_quarter_turns_and_mirrors(
    abcd: tuple[int, int, int, int], rotation_deg: int, is_mirrored: bool
) -> None:
    a, b, c, d = (value * ONE for value in abcd)
    assert orientation_from_matrix(_matrix(a, b, c, d)) == Orientation(rotation_deg, is_mirrored)


def test_another_angle_is_rounded_and_said_to_be() -> None:
    thirty = _matrix(round(0.866 * ONE), round(0.5 * ONE), round(-0.5 * ONE), round(0.866 * ONE))
    assert orientation_from_matrix(thirty) == Orientation(0, False, is_exact=False)


def test_scale_does_not_matter() -> None:
    assert orientation_from_matrix(_matrix(0, 3 * ONE, -2 * ONE, 0)) == Orientation(90)


@pytest.mark.parametrize("matrix", [b"", bytes(36), bytes(35)])
def test_refuses_what_is_no_matrix(matrix: bytes) -> None:
    with pytest.raises(ValueError, match="display matrix"):
        orientation_from_matrix(matrix)
