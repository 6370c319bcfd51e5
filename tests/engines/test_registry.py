from __future__ import annotations

import pytest
from tiny_bundle import write_tiny_bundle

from vidtag_cli.bundle import load_bundle
from vidtag_cli.engines import available_engines, open_engine
from vidtag_cli.engines.registry import PLANNED_ENGINES
from vidtag_cli.errors import ModelError


@pytest.fixture
def graph(tmp_path):
    return load_bundle(write_tiny_bundle(tmp_path)).graphs["tempgeo"]


@pytest.mark.parametrize("name", sorted(PLANNED_ENGINES))
def test_an_engine_of_a_later_version_is_an_error_and_no_fall_back(graph, name):
    with pytest.raises(ModelError, match=rf"{name}: this version of vidtag cannot run it yet.*--engine onnxruntime"):
        open_engine(graph, name, "cuda")


def test_an_unknown_engine_is_named_with_those_there_are(graph):
    with pytest.raises(ModelError, match="openvino: unknown engine; there are onnxruntime, tensorrt, tensorrt_rtx"):
        open_engine(graph, "openvino")


def test_every_engine_is_listed_and_says_why_it_cannot_run():
    statuses = available_engines()
    assert [(s.name, s.device) for s in statuses] == [
        ("onnxruntime", "cpu"),
        ("onnxruntime", "cuda"),
        ("tensorrt", "cuda"),
        ("tensorrt_rtx", "cuda"),
    ]
    assert statuses[0].usable
    assert all(status.usable != bool(status.reason) for status in statuses)


def test_a_missing_module_is_named_with_what_brings_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    reasons = {status.name: status.reason for status in available_engines()}
    assert "tensorrt-rtx, part of vidtag[rtx]" in reasons["tensorrt_rtx"]
