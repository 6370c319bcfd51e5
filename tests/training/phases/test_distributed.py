"""Two ranks of torchrun against one process, and the pieces that make them equal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import small_training
import torch
from small_training import train_both_with_curves
from torch import nn

from training.phases.distributed import ALONE, BatchNormOverRanks, Ranks, restore_batch_norms_, share_batch_norms_
from training.phases.execution import Execution
from training.phases.parts import parts_of

ROOT = Path(__file__).parents[3]

CURVES = 1e-5
"""The issue's own bound. Sums over ranks round differently from sums over one batch."""

WEIGHTS = 1e-4
"""After nine steps of 1e-3 at most: a tenth of one step."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return curves and weights of one process, this one, and of two ranks that torchrun starts."""
    folder = tmp_path_factory.mktemp("ranks")
    single, curves = train_both_with_curves(folder / "single", Execution())
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*torchrun, small_training.__file__, str(folder)], check=True, env=environment, cwd=ROOT)
    both = json.loads((folder / "curves.json").read_text()), torch.load(folder / "weights.pt", weights_only=True)
    return {"single": (curves, single.state_dict()), "double": both}


@pytest.mark.parametrize("phase", ["phase_one", "phase_two"])
def test_two_ranks_give_the_curve_of_one_process(runs, phase):
    single, double = (runs[name][0][phase] for name in ("single", "double"))
    assert len(single) == len(double) == 9
    for ours, theirs in zip(single, double, strict=True):
        assert ours == pytest.approx(theirs, abs=CURVES, rel=0.0)


def test_the_curve_moves(runs):
    losses = [row["loss"] for row in runs["single"][0]["phase_one"]]
    assert max(losses) - min(losses) > 1000 * CURVES


def test_both_end_with_the_same_weights(runs):
    single, double = (runs[name][1] for name in ("single", "double"))
    assert single.keys() == double.keys()
    compared = [name for name in single if single[name].dtype == torch.float32 and not _means_nothing(name)]
    for name in compared:
        assert torch.allclose(single[name], double[name], atol=WEIGHTS), name
    assert len(compared) > 120


def _means_nothing(name):
    """A bias before a batch norm, and that of attention's keys, changes no output: its gradient is rounding, which Adam
    blows up to whole steps. The running means follow it.
    """
    return name in {f"0.tempgeo.stem.narrow.{layer}.bias" for layer in (1, 5)} or name.endswith(
        ("running_mean", "in_proj_bias")
    )


@pytest.mark.parametrize(("total", "count"), [(10, 3), (128, 4), (7, 8), (1, 1)])
def test_shares_cover_all_rows_once(total, count):
    rows = [index for rank in range(count) for index in range(total)[Ranks(rank, count).share(total)]]
    assert rows == list(range(total))


def test_parts_cover_all_rows_once():
    assert parts_of(7, 3) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert parts_of(7, 0) == [slice(0, 7)]


def test_a_batch_norm_over_ranks_is_torchs(monkeypatch):
    """With two ranks that hold the same rows: sums are doubled, means and variances are not."""
    monkeypatch.setattr("torch.distributed.all_reduce", lambda tensor: tensor.mul_(2.0))
    torch.manual_seed(0)
    plain = nn.BatchNorm1d(5)
    nn.init.normal_(plain.weight)
    shared = BatchNormOverRanks(nn.BatchNorm1d(5))
    shared.load_state_dict(plain.state_dict())
    rows = torch.randn(6, 5) * 3.0 + 1.0
    ours, theirs = rows.clone().requires_grad_(), torch.cat([rows, rows]).requires_grad_()
    wanted = plain(theirs)
    found = shared(ours)
    assert torch.allclose(found, wanted[:6], atol=1e-6)
    weight = torch.randn(6, 5)
    (found * weight).sum().backward()
    (wanted * torch.cat([weight, weight])).sum().backward()
    # Each of the two ranks counts its own rows only; the module's sums bring in those of the other.
    assert torch.allclose(ours.grad, theirs.grad[:6], atol=1e-5)
    for name, value in plain.state_dict().items():
        assert torch.allclose(shared.state_dict()[name].float(), value.float(), atol=1e-5), name
    plain.eval(), shared.eval()
    assert torch.allclose(shared(rows), plain(rows), atol=1e-5)


def test_shared_norms_are_put_back():
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Sequential(nn.BatchNorm1d(3)))
    weights = dict(module.named_parameters())
    share_batch_norms_(module, ALONE)
    assert isinstance(module[1], nn.BatchNorm1d)
    share_batch_norms_(module, Ranks(0, 2))
    assert isinstance(module[2][0], BatchNormOverRanks)
    restore_batch_norms_(module)
    assert isinstance(module[2][0], nn.BatchNorm1d)
    assert all(value is weights[name] for name, value in module.named_parameters())
