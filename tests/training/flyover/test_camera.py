"""The camera looks straight down: at its own position, heading up, without a seam at 180 or a pole."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from training.flyover.camera import ground_positions, photograph
from training.flyover.imagery import texture_grid
from vidtag_cli.geo.sphere import haversine_km, initial_bearing_deg

FOOTPRINT_KM, SIZE_PX = 500.0, 33
CENTRE = SIZE_PX // 2
FLOAT32_KM = 0.01
"""Positions are float32 degrees: 180 is known to 1.5e-5 degrees, two metres."""

BEARING_DEG = 0.2
"""What ten metres are at 240 km, and the difference of plane and sphere."""

PLACES = [
    (0.0, 0.0), (48.0, 11.0), (-17.0, 180.0), (66.0, -179.999), (0.0, 179.95), (89.9, 30.0), (-90.0, 0.0), (90.0, 0.0),
]  # fmt: skip


def look(place, heading_deg=0.0, size_px=SIZE_PX):
    ground = ground_positions(
        torch.tensor([place], dtype=torch.float64), torch.tensor([heading_deg]), torch.tensor([FOOTPRINT_KM]), size_px
    )
    return ground[0].double().numpy()


@pytest.mark.parametrize("place", PLACES)
def test_the_centre_pixel_looks_at_the_camera(place):
    assert haversine_km(look(place)[CENTRE, CENTRE], np.array(place)) < FLOAT32_KM


@pytest.mark.parametrize("place", PLACES[:5])
@pytest.mark.parametrize("heading_deg", [0.0, 37.0, 180.0, 290.0])
def test_the_heading_is_up_and_right_is_right(place, heading_deg):
    ground = look(place, heading_deg)
    at = np.array(place)
    for pixel, turn_deg in ((ground[0, CENTRE], 0.0), (ground[CENTRE, -1], 90.0), (ground[-1, CENTRE], 180.0)):
        difference = (initial_bearing_deg(at, pixel) - heading_deg - turn_deg + 180.0) % 360.0 - 180.0
        assert abs(difference) < BEARING_DEG
        wanted_km = FOOTPRINT_KM * (0.5 - 0.5 / SIZE_PX)
        assert haversine_km(at, pixel) == pytest.approx(wanted_km, rel=1e-3)


@pytest.mark.parametrize("place", PLACES)
def test_neighbouring_pixels_are_one_pixel_apart_everywhere(place):
    ground = look(place, 25.0)
    pixel_km = FOOTPRINT_KM / SIZE_PX
    for step_km in (haversine_km(ground[1:], ground[:-1]), haversine_km(ground[:, 1:], ground[:, :-1])):
        assert np.abs(step_km - pixel_km).max() < 0.01 * pixel_km


def smooth_texture():
    """Return a texture that is smooth on the sphere: its colours are the coordinates of the unit vector."""
    lat = torch.deg2rad(90.0 - (torch.arange(1080) + 0.5) / 6.0)[:, None]
    lon = torch.deg2rad((torch.arange(2160) + 0.5) / 6.0 - 180.0)[None]
    colours = torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin() + 0.0 * lon])
    return functional.pad(colours * 100.0 + 128.0, (4, 4, 0, 0), mode="circular")[None]


@pytest.mark.parametrize("place", PLACES)
def test_pictures_have_no_seam(place):
    picture = photograph(
        smooth_texture(), torch.tensor([0]), torch.tensor([place], dtype=torch.float64), torch.tensor([25.0]),
        torch.tensor([FOOTPRINT_KM]), 32,
    )[0]  # fmt: skip
    one_pixel = 100.0 * FOOTPRINT_KM / 32 / 6371.0
    for step in (picture[:, 1:] - picture[:, :-1], picture[:, :, 1:] - picture[:, :, :-1]):
        assert step.abs().max() < 2.0 * one_pixel


def test_the_texture_is_read_where_the_position_is():
    place = torch.tensor([[[48.0, 11.0], [-17.0, 179.9], [-17.0, -179.9]]])
    texture = smooth_texture()
    grid = texture_grid(place, texture[0])[None]  # (1, 1, 3, 2)
    colours = functional.grid_sample(texture, grid, align_corners=False)[0, :, 0].T
    lat, lon = torch.deg2rad(place[0]).unbind(-1)
    wanted = torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], -1) * 100.0 + 128.0
    assert (colours - wanted).abs().max() < 0.5


def test_every_picture_gets_its_own_style():
    textures = torch.stack([torch.full((3, 20, 48), 10.0), torch.full((3, 20, 48), 200.0)])
    style, latlon_deg = torch.tensor([1, 0, 1]), torch.zeros(3, 2, dtype=torch.float64)
    pictures = photograph(textures, style, latlon_deg, torch.zeros(3), torch.full((3,), 300.0), 4)
    assert pictures.mean((1, 2, 3)).tolist() == pytest.approx([200.0, 10.0, 200.0])
