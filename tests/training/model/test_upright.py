"""Frames turned by their own colours: the same place looks the same under every heading."""

import numpy as np
import pytest
import torch

from training.model.dual_encoder import Upright

SIZE_PX = 48
RESAMPLED = 6.0
"""Levels of 255: two bilinear samplings of a smooth picture, one at a turned grid and one at an upright one."""


def smooth_picture(turn_deg=0.0):
    """Return (1, 3, S, S): warm to one side, cold to the other, a bright blob off the centre, all turned together."""
    offset = (2.0 * np.arange(SIZE_PX) + 1.0 - SIZE_PX) / SIZE_PX
    down, right = np.meshgrid(offset, offset, indexing="ij")
    turn = np.radians(turn_deg)
    x, y = np.cos(turn) * right + np.sin(turn) * down, np.cos(turn) * down - np.sin(turn) * right
    blob = np.exp(-((x - 0.2) ** 2 + (y - 0.4) ** 2) / 0.08)
    red, green, blue = 120.0 + 60.0 * x + 30.0 * y, 100.0 + 100.0 * blob, 120.0 - 60.0 * x
    return torch.from_numpy(np.stack([red, green, blue])[None]).float().round()


def inner_disc():
    """Return (S, S) bool: the disc without its rim, where a turned pixel reaches over the edge of the picture."""
    offset = (2.0 * torch.arange(SIZE_PX) + 1.0 - SIZE_PX) / SIZE_PX
    return offset[:, None] ** 2 + offset[None] ** 2 < 0.93**2


@pytest.mark.parametrize("turn_deg", [0.0, 33.0, 90.0, 178.0, 271.5])
def test_the_heading_of_a_picture_does_not_matter(turn_deg):
    upright = Upright(SIZE_PX)
    here, turned = upright(smooth_picture()), upright(smooth_picture(turn_deg))
    inside = inner_disc()
    assert (here - turned).abs()[..., inside].mean() < RESAMPLED / 4
    assert (here - turned).abs()[..., inside].max() < RESAMPLED


def test_the_warm_side_ends_up_on_the_right():
    out = Upright(SIZE_PX)(smooth_picture(140.0))[0]
    warm = out[0] - out[2]
    assert warm[20:28, -8:].mean() > warm[20:28, :8].mean() + 50.0


def test_light_does_not_turn_it():
    upright, inside = Upright(SIZE_PX), inner_disc()
    picture = smooth_picture(77.0)
    hazy = picture * 0.5 + 100.0
    assert torch.allclose(upright(hazy)[..., inside], upright(picture)[..., inside] * 0.5 + 100.0, atol=0.01)


def test_a_picture_without_colours_gives_no_wrong_numbers():
    grey = torch.full((2, 3, SIZE_PX, SIZE_PX), 90.0)
    out = Upright(SIZE_PX)(grey)
    assert torch.equal(out, grey * Upright(SIZE_PX).disc)


def test_the_corners_are_black_and_the_disc_is_whole():
    out = Upright(SIZE_PX)(smooth_picture(12.0))
    disc = Upright(SIZE_PX).disc.bool()
    assert (out[..., ~disc] == 0.0).all()
    assert (out[..., disc].amin() > 0.0).all()
