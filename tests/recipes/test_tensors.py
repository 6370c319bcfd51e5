"""Tensors of published files are read without running anything in them, and nothing beyond a file is touched."""

import collections
import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from tiny_recipe import safetensors_bytes

from vidtag_cli.errors import ModelError
from vidtag_cli.recipes.tensors import read_tensors


def write(folder, content, name="file.safetensors"):
    path = folder / name
    path.write_bytes(content)
    return path


def test_safetensors_come_back(tmp_path):
    tensors = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.ones((2, 0), np.float32),
        "half": np.float16([1.5]), "count": np.int64([3]), "lone": np.float64(2.5).reshape(()),
    }  # fmt: skip
    found = read_tensors(write(tmp_path, safetensors_bytes(tensors)))
    assert found.keys() == tensors.keys()
    for name, values in tensors.items():
        assert found[name].dtype == values.dtype and found[name].shape == values.shape
        np.testing.assert_array_equal(found[name], values)


def header(entries, data=b"\0" * 16):
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + data


ENTRY = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\1" * 7, (2**40).to_bytes(8, "little") + b"{}", header([]), header({"a": 3}),
        header({"a": {**ENTRY, "dtype": "BF16"}}), header({"a": {**ENTRY, "shape": [5]}}),
        header({"a": {**ENTRY, "shape": [-4]}}), header({"a": {**ENTRY, "data_offsets": [0, 32]}}),
        header({"a": {**ENTRY, "data_offsets": [8, 24]}}), header({"a": ENTRY, "b": ENTRY}),
        header({"a": ENTRY}, b"\0" * 20), header({"a": ENTRY}, b"\0" * 12),
        header({"a": {**ENTRY, "shape": [2**62, 4]}}),
    ],
)  # fmt: skip
def test_a_header_that_does_not_fit_its_file_is_refused(tmp_path, content):
    with pytest.raises(ModelError, match="file.safetensors"):
        read_tensors(write(tmp_path, content))


def saved(value):
    content = io.BytesIO()
    torch.save(value, content)
    return content.getvalue()


@pytest.mark.parametrize("kind", [dict, collections.OrderedDict])
def test_torch_archives_come_back(tmp_path, kind):
    shared = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tensors = kind({
        "whole": shared, "turned": shared.T, "row": shared[1], "none": torch.zeros(0, 3),
        "double": torch.ones(2).double(), "half": torch.ones(3).half(), "long": torch.tensor([7]),
    })  # fmt: skip
    found = read_tensors(write(tmp_path, saved(tensors), "w.pth"))
    assert list(found) == list(tensors)
    for name, values in tensors.items():
        np.testing.assert_array_equal(found[name], values.numpy())


def test_a_module_s_state_and_a_lone_tensor_come_back(tmp_path):
    module = torch.nn.Linear(3, 2)
    found = read_tensors(write(tmp_path, saved(module.state_dict()), "w.pth"))
    np.testing.assert_array_equal(found["weight"], module.weight.detach().numpy())
    lone = read_tensors(write(tmp_path, saved(torch.tensor(3.5)), "s.pth"))
    assert float(lone["tensor"]) == 3.5


class Command:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def archive(description, data=b"\0" * 16):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("archive/data.pkl", description)
        file.writestr("archive/data/0", data)
    return content.getvalue()


def test_nothing_in_a_file_is_ever_run(tmp_path):
    marker = tmp_path / "ran"
    for content in (archive(pickle.dumps(Command(marker), 2)), archive(pickle.dumps({"a": Command(marker)}, 4))):
        with pytest.raises(ModelError, match="which no plain tensor needs"):
            read_tensors(write(tmp_path, content, "w.pth"))
    assert not marker.exists()


@pytest.mark.parametrize(
    "value", [{"a": 3}, {"a": {"b": torch.ones(1)}}, [torch.ones(1)], {"a": torch.ones(1).bfloat16()}, "text"]
)
def test_what_is_no_plain_tensor_is_refused(tmp_path, value):
    with pytest.raises(ModelError, match=r"w\.pth"):
        read_tensors(write(tmp_path, saved(value), "w.pth"))


def test_a_tensor_may_not_reach_beyond_its_storage(tmp_path):
    good = saved({"a": torch.arange(4.0)})
    with zipfile.ZipFile(io.BytesIO(good)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    data = next(name for name in members if name.endswith("/data/0"))
    for changed in (members[data][:8], members[data] * 2):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as file:
            for name, member in members.items():
                file.writestr(name, changed if name == data else member)
        with pytest.raises(ModelError, match="promised"):
            read_tensors(write(tmp_path, content.getvalue(), "w.pth"))


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_any_cut_or_changed_description_is_an_error_or_the_same_tensors(tmp_path):
    """No byte of the description, changed, leads to anything but a refusal or plain numbers."""
    good = saved({"a": torch.arange(4.0), "b": torch.ones(2, 3)})
    with zipfile.ZipFile(io.BytesIO(good)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    described = next(name for name in members if name.endswith("/data.pkl"))
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(200):
        content = bytearray(members[described])
        content[int(rng.integers(len(content)))] = int(rng.integers(256))
        changed = io.BytesIO()
        with zipfile.ZipFile(changed, "w") as file:
            for name, member in members.items():
                file.writestr(name, bytes(content) if name == described else member)
        try:
            assert all(isinstance(values, np.ndarray) for values in read_tensors(
                write(tmp_path, changed.getvalue(), f"w{number}.pth")).values())  # fmt: skip
        except ModelError:
            refused += 1
    assert refused > 50
