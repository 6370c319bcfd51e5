"""A step in parts: the loss and the gradients of one pass over the whole batch."""

import dataclasses

import pytest
import torch
from small_training import RECIPE, SmallClips, small_model
from torch import nn
from torch.nn import functional

from training.config import NoiseConfig
from training.phases.distributed import ALONE
from training.phases.execution import Execution
from training.phases.losses import frame_to_location_loss, refinement_loss
from training.phases.parts import Side, loss_in_parts, part_seed, parts_of
from training.phases.phase_one import check_division, train_phase_one
from training.phases.phase_two import train_phase_two
from vidtag_cli.errors import UsageError

ONE_PASS = 1e-12
"""float64."""

TRAINED = 2e-5
"""float32 after three steps of at most 1e-3."""


def gradients(count, loss_of):
    """Return the loss and the gradients of two small networks whose rows pass in so many parts."""
    torch.manual_seed(0)
    networks = nn.ModuleList([nn.Linear(4, 6), nn.Linear(3, 6)]).double()
    scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    rows = torch.randn(12, 4, dtype=torch.float64), torch.randn(12, 3, dtype=torch.float64)

    def side(network, inputs):
        parts = parts_of(12, 0 if count == 1 else 12 // count)
        return Side(lambda part: functional.normalize(network(inputs[parts[part]]), dim=-1), len(parts), 12)

    sides = [side(network, inputs) for network, inputs in zip(networks, rows, strict=True)]
    loss = loss_in_parts(sides, lambda a, b: loss_of(a, b, scale), ALONE, [scale])
    if loss.requires_grad:
        loss.backward()
    return loss.detach(), [weight.grad for weight in networks.parameters()] + [scale.grad]


@pytest.mark.parametrize("count", [2, 3, 12])
@pytest.mark.parametrize(
    "loss_of",
    [
        lambda a, b, scale: frame_to_location_loss(a, b[:12], scale, b[:0]),
        lambda a, b, scale: scale * refinement_loss(a.reshape(3, 4, 6), b.reshape(3, 4, 6)),
    ],
)
def test_parts_give_what_one_pass_gives(count, loss_of):
    (whole, whole_gradients), (split, split_gradients) = gradients(1, loss_of), gradients(count, loss_of)
    assert abs(whole - split) < ONE_PASS
    for ours, theirs in zip(split_gradients, whole_gradients, strict=True):
        assert (ours - theirs).abs().max() < ONE_PASS
        assert theirs.abs().max() > 1e-3


def train_without_dropout(folder, micro_clips):
    """Return the model after both phases; without dropout the parts draw nothing."""
    model = small_model()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    recipe = dataclasses.replace(RECIPE, micro_clips=micro_clips, epochs=1)
    train_phase_one(model, recipe, SmallClips(), folder / "one", seed=3)
    tempgeo = {name: value.clone() for name, value in model.state_dict().items()}
    train_phase_two(model, recipe, NoiseConfig(), SmallClips(), folder / "two", seed=3)
    return tempgeo, model


def test_a_run_in_parts_is_the_run_in_one(tmp_path):
    whole, split = (train_without_dropout(tmp_path / str(micro), micro)[0] for micro in (0, 2))
    compared = [name for name in whole if not _means_nothing(name)]
    for name in compared:
        assert torch.allclose(whole[name].float(), split[name].float(), atol=TRAINED), name
    assert len(compared) > 60


def _means_nothing(name):
    """Biases that change no output have no gradient but rounding: before a batch norm, and of attention's keys."""
    return (
        name.startswith("tempgeo.stem.narrow")
        and name.endswith(("1.bias", "5.bias", "running_mean"))
        or name.endswith("in_proj_bias")
    )


def test_dropout_follows_the_part_not_who_computes_it():
    seeds = {part_seed(1, number, part) for number in range(10) for part in range(10)}
    assert len(seeds) == 100
    assert part_seed(1, 2, 3) == part_seed(1, 2, 3)
    stem = small_model().tempgeo.stem
    features = torch.randn(4, 3, 24)
    assert torch.equal(stem(features, (5, 6)), stem(features, (5, 6)))
    assert not torch.equal(stem(features, (5, 6)), stem(features, (5, 7)))


@pytest.mark.parametrize(("batch", "micro"), [(8, 3), (7, 2)])
def test_a_batch_that_does_not_divide_is_refused(batch, micro):
    recipe = dataclasses.replace(RECIPE, batch_clips=batch, micro_clips=micro)
    with pytest.raises(UsageError, match="multiple of ranks times micro_clips"):
        check_division(recipe, Execution())


def test_half_precision_stays_near(tmp_path):
    """bfloat16 on the CPU stands for that on CUDA: same code, another device."""
    curves = {}
    for precision in ("float32", "bfloat16"):
        recipe = dataclasses.replace(RECIPE, precision=precision, epochs=1)
        model = small_model()
        train_phase_one(model, recipe, SmallClips(), tmp_path / precision, seed=3)
        assert all(weight.dtype == torch.float32 for weight in model.parameters())
        curves[precision] = (tmp_path / precision / "log.csv").read_text().splitlines()[-1].split(",")[3]
    assert float(curves["bfloat16"]) == pytest.approx(float(curves["float32"]), rel=0.02)
    assert curves["bfloat16"] != curves["float32"]
