"""TempGeo (docs/method.md 2.3): the sizes that the paper's Table 8 pins, and positions that no clip length leaves."""

import dataclasses
import math

import pytest
import torch

from training.config_files import load_config
from training.model.tempgeo import POSITION_SPAN, FrameMlp, TempGeo, sinusoidal_positions
from training.model.vidtag import build_location_encoder, build_tempgeo

TABLE_8 = {
    (1024,): (55_694_848, 55.69, 55.7),
    (1024, 768): (56_350_976, 56.35, 56.3),
    (1024, 1024, 768): (57_400_576, 57.40, 57.4),
    (1024, 1024, 768, 768): (57_991_168, 57.99, 58.0),
}
"""Hidden widths of the frame MLP -> trainable parameters of Phase I, added up by hand: TempGeo 43,886,080, location
encoder 9,447,936, the rest is the MLP; then millions as in docs/method.md 2.3 and as the paper prints them."""

PAPER_ROUNDING_M = 0.06
"""The paper prints one digit, and 56.35 as 56.3."""

FLOAT32_ANGLES = 1e-5
"""float32 sines of angles up to 31 rad."""


def parameter_count(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


@pytest.mark.parametrize("mlp_hidden", TABLE_8)
def test_phase_one_has_the_parameters_of_table_8(mlp_hidden):
    config = dataclasses.replace(load_config("paper").model, mlp_hidden=mlp_hidden)
    with torch.device("meta"):
        mlp = FrameMlp((config.feature_dim, *config.mlp_hidden, config.embed_dim))
        count = parameter_count(build_tempgeo(config), mlp, build_location_encoder(config))
    exact, specified_m, printed_m = TABLE_8[mlp_hidden]
    assert count == exact
    assert round(count / 1e6, 2) == specified_m
    assert abs(count / 1e6 - printed_m) < PAPER_ROUNDING_M


def test_the_paper_preset_is_the_second_row_of_table_8():
    assert load_config("paper").model.mlp_hidden == (1024, 768)


@pytest.mark.parametrize("count", [1, 2, 3, 16, 31, 32, 500])
def test_positions_of_any_length_span_0_to_31(count):
    width = 320
    wanted = torch.zeros(count, width, dtype=torch.float64)
    for frame, position in enumerate(torch.linspace(0, POSITION_SPAN, count, dtype=torch.float64).tolist()):
        for pair in range(width // 2):
            angle = position / 10_000 ** (2 * pair / width)
            wanted[frame, 2 * pair], wanted[frame, 2 * pair + 1] = math.sin(angle), math.cos(angle)
    codes = sinusoidal_positions(count, width)
    assert codes.dtype == torch.float32
    assert (codes - wanted).abs().max() < FLOAT32_ANGLES


def small_tempgeo():
    torch.manual_seed(0)
    return TempGeo(32, stem_hidden=16, heads=4).eval()


def test_every_frame_sees_every_other():
    model = small_tempgeo()
    features = torch.randn(1, 6, 32, requires_grad=True)
    for frame in (0, 5):
        (gradient,) = torch.autograd.grad(model(features)[0, frame].sum(), features)
        assert (gradient[0].abs().amax(-1) > 0).all()


def test_clips_do_not_see_each_other():
    model = small_tempgeo()
    features = torch.randn(3, 5, 32)
    alone = torch.cat([model(clip[None]) for clip in features])
    assert torch.allclose(model(features), alone, atol=1e-6)


def test_the_order_of_frames_matters():
    model = small_tempgeo()
    features = torch.randn(1, 5, 32)
    turned = model(features.flip(1)).flip(1)
    assert not torch.allclose(model(features), turned, atol=1e-3)
