"""The noise model of Phase II (docs/method.md 2.9): its shares and moments, and that nothing leaves the sphere."""

import math

import numpy as np
import pytest

from training.phases.phase_two import disturb_positions, put_on_sphere
from vidtag_cli.geo.sphere import haversine_km

DRAWS = 100_000
SIGMAS = 5.0
"""A right sampler fails one of these statements in a million seeds."""

JITTER_DEG, SHIFT_DEG = (0.001, 0.02), (-0.2, 0.2)


def clips(lat_deg=10.0, lon_deg=20.0, frames=2):
    """Return DRAWS equal clips whose frames lie a degree apart."""
    clip = np.stack([np.full(frames, lat_deg), lon_deg + np.arange(frames)], -1)
    return np.broadcast_to(clip, (DRAWS, frames, 2))


def disturb(truth, **settings):
    return disturb_positions(truth, np.random.default_rng(0), **settings)


def standard_error(deviation):
    return deviation / math.sqrt(DRAWS)


def test_a_tenth_of_the_clips_collapses_to_one_of_its_own_points():
    noisy = disturb(clips(frames=3), shift_deg=(0.0, 0.0))
    collapsed = (noisy == noisy[:, :1]).all((1, 2))
    assert abs(collapsed.mean() - 0.1) < SIGMAS * standard_error(0.3)
    longitudes = np.round(noisy[collapsed, 0, 1], 9)
    share = collapsed.sum() / 3
    for own in (20.0, 21.0, 22.0):
        assert abs((longitudes == own).sum() - share) < SIGMAS * math.sqrt(share)
    assert set(longitudes) == {20.0, 21.0, 22.0}


def test_the_other_frames_jitter_each_coordinate_with_its_own_sign():
    offset = disturb(clips(), collapse_share=0.0, shift_deg=(0.0, 0.0)) - clips()
    size = np.abs(offset)
    assert size.min() > JITTER_DEG[0] - 1e-9
    assert size.max() < JITTER_DEG[1] + 1e-9
    spread = (JITTER_DEG[1] - JITTER_DEG[0]) / math.sqrt(12.0)
    assert np.abs(size.mean(0) - np.mean(JITTER_DEG)).max() < SIGMAS * standard_error(spread)
    signs = np.sign(offset).reshape(DRAWS, 4)
    assert np.abs(signs.mean(0)).max() < SIGMAS * standard_error(1.0)
    together = signs.T @ signs / DRAWS - np.eye(4)
    assert np.abs(together).max() < SIGMAS * standard_error(1.0)


def test_the_whole_clip_is_shifted_by_one_amount_a_coordinate():
    offset = disturb(clips(), collapse_share=0.0, jitter_deg=(0.0, 0.0)) - clips()
    assert np.abs(offset[:, 0] - offset[:, 1]).max() < 1e-9
    shift = offset[:, 0]
    assert np.abs(shift).max() <= SHIFT_DEG[1] + 1e-9
    deviation = (SHIFT_DEG[1] - SHIFT_DEG[0]) / math.sqrt(12.0)
    assert np.abs(shift.mean(0)).max() < SIGMAS * standard_error(deviation)
    assert np.abs(shift.std(0) - deviation).max() < SIGMAS * standard_error(deviation)
    assert abs(np.corrcoef(shift.T)[0, 1]) < SIGMAS * standard_error(1.0)


@pytest.mark.parametrize(("lat_deg", "lon_deg"), [(89.95, 10.0), (-90.0, 0.0), (0.0, 179.9), (89.99, -180.0)])
def test_nothing_leaves_the_sphere(lat_deg, lon_deg):
    truth = put_on_sphere(clips(lat_deg, lon_deg))
    noisy = disturb(truth)
    assert np.abs(noisy[..., 0]).max() <= 90.0
    assert noisy[..., 1].min() >= -180.0
    assert noisy[..., 1].max() < 180.0


def test_a_step_over_the_antimeridian_stays_a_step():
    truth = put_on_sphere(clips(0.0, 179.0, frames=1))
    farthest_km = 112.0 * math.hypot(0.22, 0.22)
    assert haversine_km(truth, disturb(truth)).max() < farthest_km


def test_the_pole_is_stepped_over():
    over = put_on_sphere(np.array([[90.1, 10.0], [-90.5, -170.0], [90.0, 5.0], [45.0, 190.0]]))
    assert np.allclose(over, [[89.9, -170.0], [-89.5, 10.0], [90.0, 5.0], [45.0, -170.0]])


def test_the_same_seed_draws_the_same_noise():
    assert np.array_equal(disturb(clips()), disturb(clips()))


def test_a_share_of_the_frames_may_be_somewhere_else():
    """The share is drawn per clip, uniformly; what stands there is a true place of the batch, not an invented one."""
    rng = np.random.default_rng(1)
    truth = np.stack([rng.uniform(-60.0, 60.0, (2000, 8)), rng.uniform(-170.0, 170.0, (2000, 8))], -1)
    noisy = disturb(truth, collapse_share=0.0, outlier_share=(0.0, 0.6))
    moved = haversine_km(noisy, truth) > 100.0  # jitter and shift stay below 50 km
    assert abs(moved.mean() - 0.3) < 0.02
    assert moved.mean(1).std() > 0.15  # shares differ from clip to clip
    known = {tuple(place) for place in truth.reshape(-1, 2)}
    assert {tuple(place) for place in noisy[moved]} <= known


def test_without_outliers_the_draws_are_those_of_the_paper():
    truth = clips()[:100]
    assert np.array_equal(disturb(truth), disturb(truth, outlier_share=(0.0, 0.0)))
