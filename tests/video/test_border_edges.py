"""Borders in pictures that are made here: what is one, and what only looks like one."""

from __future__ import annotations

import numpy as np
import pytest

from vidtag_cli.video.border_edges import is_borderless, measure_box

WIDTH, HEIGHT = 160, 120
WHOLE = (0, 0, WIDTH, HEIGHT)


def scene(number: int, width: int, height: int, darkness: float = 1.0) -> np.ndarray:
    """A picture of leaves: patches of all sizes, which move from one picture to the next."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 40, 3))
    fine = rng.integers(-60, 60, (height, width + 320, 3))
    large = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, 3 * number : 3 * number + width]
    picture = np.clip(large + fine[:, 5 * number : 5 * number + width], 0, 255)
    return (picture * darkness).astype(np.uint8)


def framed(number: int, box: tuple[int, int, int, int], colour: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
    left, top, right, bottom = box
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    picture[:] = colour
    picture[top:bottom, left:right] = scene(number, right - left, bottom - top)
    return picture


def measured(pictures: list[np.ndarray]) -> tuple[int, int, int, int] | None:
    found = measure_box(pictures)
    return None if found is None else found.box


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (128, 48, 32), (16, 16, 16)])
@pytest.mark.parametrize(
    "box", [(0, 15, 160, 105), (46, 0, 114, 120), (20, 15, 140, 105), (10, 20, 70, 60), (0, 8, 160, 80)]
)
def test_flat_borders_of_any_colour_on_any_sides_are_found(box, colour):
    pictures = [framed(number, box, colour) for number in range(12)]
    assert measured(pictures) == box
    assert not any(map(is_borderless, pictures))


def test_a_picture_without_borders_is_whole_and_is_known_to_be():
    pictures = [scene(number, WIDTH, HEIGHT) for number in range(12)]
    assert measured(pictures) == WHOLE
    assert all(map(is_borderless, pictures))


def test_a_border_on_one_side_alone_must_be_black():
    assert measured([framed(number, (0, 15, 160, 120)) for number in range(8)]) == (0, 15, 160, 120)
    assert measured([framed(number, (0, 15, 160, 120), (200, 200, 200)) for number in range(8)]) == WHOLE


def test_a_dark_sky_over_roofs_is_no_border():
    heights = np.random.default_rng(3).integers(20, 60, WIDTH // 8).repeat(8)
    sky = np.arange(HEIGHT)[:, None] < heights
    pictures = [np.where(sky[..., None], 3, scene(number, WIDTH, HEIGHT)).astype(np.uint8) for number in range(12)]
    assert measured(pictures) == WHOLE


def test_a_noisy_sky_over_a_straight_horizon_is_no_border():
    rng = np.random.default_rng(5)
    pictures = [framed(number, (0, 40, 160, 120)) for number in range(12)]
    for picture in pictures:
        picture[:40] = rng.integers(0, 14, (40, WIDTH, 1))
    assert measured(pictures) == WHOLE


def test_a_line_on_a_plain_ground_is_no_edge_of_a_picture():
    pictures = [np.full((HEIGHT, WIDTH, 3), 40, np.uint8) for _ in range(12)]
    for number, picture in enumerate(pictures):
        picture[10:12] = 220
        picture[50:70, 10 * number : 10 * number + 20] = 200
    assert measured(pictures) == WHOLE


def test_what_is_dark_up_to_the_border_does_not_move_it():
    """In most pictures the upper half is as black as the bars: the others show where these end."""
    pictures = [framed(number, (0, 15, 160, 105)) for number in range(10)]
    for picture in pictures[:6]:
        picture[:60] = 0
    assert measured(pictures) == (0, 15, 160, 105)


def test_a_lower_edge_in_the_dark_is_where_the_upper_one_says():
    pictures = [framed(number, (0, 15, 160, 105)) for number in range(10)]
    shade = np.random.default_rng(3).integers(60, 110, WIDTH // 4).repeat(4)
    for picture in pictures:
        picture[np.arange(HEIGHT)[:, None] >= shade] = 0
    assert measured(pictures) == (0, 15, 160, 105)


def test_subtitles_in_a_bar_leave_it_a_bar():
    pictures = [framed(number, (0, 15, 160, 105)) for number in range(10)]
    for number, picture in enumerate(pictures):
        letters = np.random.default_rng(number % 3).random((8, 136)) < 0.5
        picture[108:116, 12:148][letters] = 255
    assert measured(pictures) == (0, 15, 160, 105)


def test_a_logo_in_a_bar_leaves_it_a_bar():
    pictures = [framed(number, (20, 0, 140, 120)) for number in range(10)]
    for picture in pictures:
        picture[4:20, 2:18] = (200, 30, 30)
    assert measured(pictures) == (20, 0, 140, 120)


def test_fades_say_nothing():
    box = (0, 15, 160, 105)
    for colour in ((0, 0, 0), (255, 255, 255)):
        faded = [(framed(number, box, colour) * min(1.0, number / 6)).astype(np.uint8) for number in range(12)]
        assert measured(faded) == box
    assert measured([np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 12) is None
    assert not is_borderless(np.zeros((HEIGHT, WIDTH, 3), np.uint8))


def test_shots_with_different_borders_keep_what_is_picture_in_any_and_are_counted():
    wide = [framed(number, (0, 30, 160, 90)) for number in range(6)]
    assert measured([*wide, *(framed(number, (0, 15, 160, 105)) for number in range(6))]) == (0, 15, 160, 105)
    mixed = measure_box([*wide, *(scene(number, WIDTH, HEIGHT) for number in range(6))])
    assert mixed is not None
    assert (mixed.box, mixed.wider, mixed.kinds) == (WHOLE, 6, ())


def test_blurred_copies_at_the_sides_are_a_border():
    pictures = []
    for number in range(10):
        inner = scene(number, 68, 120)
        smooth = inner[:, :, :].astype(float)
        ground = np.stack([np.full((HEIGHT, WIDTH), smooth[:, :, channel].mean() / 2) for channel in range(3)], axis=-1)
        ground += 20 * np.sin(np.arange(HEIGHT) / 25 + number)[:, None, None] + np.arange(WIDTH)[None, :, None] / 8
        picture = ground.clip(0, 255).astype(np.uint8)
        picture[:, 46:114] = inner
        pictures.append(picture)
    found = measure_box(pictures)
    assert found is not None
    assert (found.box, found.kinds) == ((46, 0, 114, 120), ("blurred",))
    assert not any(map(is_borderless, pictures))


def test_too_little_of_a_picture_is_none():
    assert measured([framed(number, (70, 50, 80, 60), (90, 90, 90)) for number in range(10)]) in (WHOLE, None)
