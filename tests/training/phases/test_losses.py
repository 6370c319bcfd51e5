"""The losses (docs/method.md 2.8) against slow formulations, one number at a time, in float64."""

import math

import pytest
import torch
from torch.nn import functional

from training.phases.losses import frame_to_location_loss, identity_loss, refinement_loss, symmetric_loss

SLOW_AGREEMENT = 1e-6
SCALE = torch.tensor(14.0, dtype=torch.float64)


def unit(*shape):
    generator = torch.Generator().manual_seed(sum(shape))
    return functional.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def dot(a, b):
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def slow_retrieval_loss(frames, locations, scale):
    total = 0.0
    for own, frame in enumerate(frames):
        logits = [scale * dot(frame, location) for location in locations]
        total -= logits[own] - math.log(sum(math.exp(logit) for logit in logits))
    return total / len(frames)


def slow_identity_loss(refined, truth, alpha, beta):
    upper, lower, diagonal = [], [], []
    for row, embedding in enumerate(refined):
        for column, wanted in enumerate(truth):
            error = (dot(embedding, wanted) - (row == column)) ** 2
            (diagonal if row == column else upper if row < column else lower).append(error)
    mean = lambda values: sum(values) / len(values) if values else 0.0  # noqa: E731
    return alpha * (mean(upper) + mean(lower)) + beta * mean(diagonal)


def test_phase_one_is_cross_entropy_with_the_own_place():
    frames, locations, recent = unit(6, 5), unit(6, 5).flip(0), unit(9, 5)
    wanted = slow_retrieval_loss(frames, locations, float(SCALE))
    assert abs(frame_to_location_loss(frames, locations, SCALE) - wanted) < SLOW_AGREEMENT
    wanted = slow_retrieval_loss(frames, torch.cat([locations, recent]), float(SCALE))
    assert abs(frame_to_location_loss(frames, locations, SCALE, recent) - wanted) < SLOW_AGREEMENT


def test_an_empty_queue_changes_nothing():
    frames, locations = unit(6, 5), unit(6, 5).flip(0)
    alone = frame_to_location_loss(frames, locations, SCALE)
    assert torch.equal(frame_to_location_loss(frames, locations, SCALE, locations[:0]), alone)


def test_the_symmetric_form_is_the_mean_of_both_directions():
    frames, locations = unit(6, 5), unit(7, 5)[:6]
    both = [slow_retrieval_loss(*pair, float(SCALE)) for pair in ((frames, locations), (locations, frames))]
    assert abs(symmetric_loss(frames, locations, SCALE) - sum(both) / 2) < SLOW_AGREEMENT


def test_recent_places_are_negatives_of_frames_only():
    frames, locations, recent = unit(6, 5), unit(7, 5)[:6], unit(9, 5)
    wanted = slow_retrieval_loss(frames, torch.cat([locations, recent]), float(SCALE))
    wanted = (wanted + slow_retrieval_loss(locations, frames, float(SCALE))) / 2
    assert abs(symmetric_loss(frames, locations, SCALE, recent) - wanted) < SLOW_AGREEMENT


@pytest.mark.parametrize(("alpha", "beta"), [(10.0, 1.0), (1.0, 1.0), (100.0, 1.0), (0.0, 3.0)])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_identity_loss_is_equations_2_to_5(count, alpha, beta):
    refined, truth = unit(count, 5), unit(count, 6)[:, :5]
    wanted = slow_identity_loss(refined, truth, alpha, beta)
    assert abs(identity_loss(refined, truth, alpha, beta) - wanted) < SLOW_AGREEMENT


def test_a_perfect_and_orthogonal_batch_costs_nothing():
    places = torch.eye(4, dtype=torch.float64)
    assert identity_loss(places, places) == 0.0
    assert identity_loss(places.flip(0), places) > 1.0


def test_phase_two_sums_frames_and_videos():
    refined, truth = unit(3, 4, 5), unit(3, 4, 6)[..., :5]
    frames = slow_identity_loss(refined.reshape(12, 5), truth.reshape(12, 5), 10.0, 1.0)
    videos = [torch.stack([clip.mean(0) / clip.mean(0).norm() for clip in clips]) for clips in (refined, truth)]
    wanted = frames + slow_identity_loss(*videos, 10.0, 1.0)
    assert abs(refinement_loss(refined, truth) - wanted) < SLOW_AGREEMENT


def test_the_gradients_are_those_of_the_values():
    frames, locations = unit(4, 3).requires_grad_(), unit(5, 3)[:4].detach().requires_grad_()
    scale = SCALE.clone().requires_grad_()
    assert torch.autograd.gradcheck(frame_to_location_loss, (frames, locations, scale, unit(2, 3).requires_grad_()))
    assert torch.autograd.gradcheck(symmetric_loss, (frames, locations, scale))
    assert torch.autograd.gradcheck(identity_loss, (frames, locations))
    clips = (unit(2, 3, 4).requires_grad_(), unit(2, 3, 5)[..., :4].detach().requires_grad_())
    assert torch.autograd.gradcheck(refinement_loss, clips)
