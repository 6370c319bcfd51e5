"""The training loop: a killed run goes on as if nothing had happened."""

import csv

import pytest
import torch
from torch import nn

from training.phases.loop import run_loop, warmup_then_decay, warmup_then_linear
from vidtag_cli.errors import InputError

STEPS, SAVE_EVERY = 12, 4


class KilledError(Exception):
    """Stands for the power cut."""


def train(folder, kill_at=None, steps=STEPS):
    """Train a tiny network with dropout and batch norm, whose steps draw from numpy's and torch's numbers."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def step(number):
        if number == kill_at:
            raise KilledError
        batch = torch.randn(16, 6)
        return {"loss": (model(batch) - batch[:, :2]).square().mean()}

    run_loop("tiny", folder, model, optimizer, step, steps, warmup_then_decay(3, 4, 0.5), seed=5,
             save_every=SAVE_EVERY, log_every=2)  # fmt: skip
    return model.state_dict()


@pytest.mark.parametrize("kill_at", [1, SAVE_EVERY, SAVE_EVERY + 2, STEPS - 1])
def test_killed_and_resumed_gives_the_same_weights(tmp_path, kill_at):
    whole = train(tmp_path / "whole")
    with pytest.raises(KilledError):
        train(tmp_path / "killed", kill_at)
    resumed = train(tmp_path / "killed")
    for name in whole:
        assert torch.equal(whole[name], resumed[name]), name


def test_a_finished_run_is_not_trained_again(tmp_path):
    whole = train(tmp_path)
    again = train(tmp_path, kill_at=0)
    for name in whole:
        assert torch.equal(whole[name], again[name])


def test_the_log_has_a_line_every_other_step(tmp_path):
    train(tmp_path)
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(2, STEPS + 1, 2))
    assert all(float(row["loss"]) > 0 for row in rows)


def test_warm_up_is_a_line_and_epochs_are_steps():
    factor = warmup_then_decay(warmup_steps=10, steps_per_epoch=20, decay_per_epoch=0.5)
    assert [factor(step) for step in (0, 4, 9, 19)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert [factor(step) for step in (20, 39, 40)] == pytest.approx([0.5, 0.5, 0.25])


def test_the_plateau_falls_to_nearly_nothing():
    factor = warmup_then_linear(warmup_steps=10, steps=100)
    assert factor(0) == pytest.approx(0.1)
    assert factor(50) == 1.0
    assert factor(75) == pytest.approx(0.5)
    assert factor(99) == pytest.approx(0.02)
    assert factor(100) == 0.01


def logged(folder):
    with (folder / "log.csv").open(newline="") as file:
        return [(row["step"], row["loss"]) for row in csv.DictReader(file)]


def test_a_resumed_run_logs_what_an_undisturbed_one_logs(tmp_path):
    train(tmp_path / "whole")
    with pytest.raises(KilledError):
        train(tmp_path / "killed", kill_at=SAVE_EVERY + 3)
    train(tmp_path / "killed")
    assert logged(tmp_path / "killed") == logged(tmp_path / "whole")


def test_a_line_is_the_mean_of_the_steps_it_stands_for(tmp_path):
    """Also when the run goes on in the middle between two lines."""
    value = {"loss": 1.0}
    weight = nn.Linear(1, 1)

    def step(number):
        if number == value.get("kill_at"):
            raise KilledError
        return {"loss": weight.weight.sum() * 0.0 + float(number)}

    def run():
        run_loop("tiny", tmp_path, weight, torch.optim.Adam(weight.parameters()), step, 8, lambda _: 1.0, seed=1,
                 save_every=3, log_every=4)  # fmt: skip

    value["kill_at"] = 3
    with pytest.raises(KilledError):
        run()
    value["kill_at"] = None
    run()
    assert logged(tmp_path) == [("4", "3"), ("8", "5.5")]


def test_another_seed_is_refused(tmp_path):
    weight = nn.Linear(1, 1)

    def run(seed, steps):
        run_loop("tiny", tmp_path, weight, torch.optim.Adam(weight.parameters()),
                 lambda number: {"loss": weight.weight.sum()}, steps, lambda _: 1.0, seed=seed)  # fmt: skip

    run(1, 2)
    with pytest.raises(InputError, match="made with seed 1, not 2"):
        run(2, 4)
    run(1, 4)
