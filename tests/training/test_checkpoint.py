"""Checkpoints: what is written comes back, whole or not at all."""

import json

import pytest
import torch
from torch import nn

from training.checkpoint import load_state, load_weights, save_state, save_weights, write_json
from vidtag_cli.errors import InputError


def trained(seed=0, steps=3):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
    return model, optimizer


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name
        assert a[name].dtype == b[name].dtype


def test_weights_come_back_bit_for_bit(tmp_path):
    weights = {
        "plain": torch.randn(3, 2), "scalar": torch.tensor(2.5), "count": torch.tensor(7),
        "turned": torch.randn(4, 5).T, "places": torch.randn(3, 2, dtype=torch.float64), "half": torch.randn(5).half(),
        "channels_last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    }  # fmt: skip
    save_weights(tmp_path / "new folder" / "weights.safetensors", weights)
    assert_same(load_weights(tmp_path / "new folder" / "weights.safetensors"), weights)


def test_nothing_but_the_file_stays_behind(tmp_path):
    save_weights(tmp_path / "w.safetensors", {"a": torch.zeros(1)})
    write_json(tmp_path / "d.json", {"a": [1, 2]})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.json", "w.safetensors"]
    assert json.loads((tmp_path / "d.json").read_text("utf-8")) == {"a": [1, 2]}


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "d.json"
    write_json(path, {"whole": True})
    with pytest.raises(TypeError):
        write_json(path, {"half": object()})
    assert json.loads(path.read_text("utf-8")) == {"whole": True}


def test_a_state_goes_on_exactly_where_it_stopped(tmp_path):
    model, optimizer = trained()
    save_state(tmp_path, model, optimizer, step=3)
    other, other_optimizer = trained(seed=1, steps=1)
    assert load_state(tmp_path, other, other_optimizer) == 3
    assert_same(other.state_dict(), model.state_dict())
    batch = torch.randn(8, 4)
    for each, its_optimizer in ((model, optimizer), (other, other_optimizer)):
        its_optimizer.zero_grad()
        each(batch).square().mean().backward()
        its_optimizer.step()
    assert_same(other.state_dict(), model.state_dict())


def test_without_a_checkpoint_nothing_changes(tmp_path):
    model, optimizer = trained()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert load_state(tmp_path, model, optimizer) == 0
    assert_same(model.state_dict(), before)


def test_another_networks_checkpoint_is_refused(tmp_path):
    model, optimizer = trained()
    save_state(tmp_path, model, optimizer, step=3)
    other = nn.Linear(4, 3)
    with pytest.raises(InputError, match="another model.*give another --out"):
        load_state(tmp_path, other, torch.optim.Adam(other.parameters()))
