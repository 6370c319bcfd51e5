"""Building ahead of time: on which GPU, for which GPU."""

from __future__ import annotations

import pytest
from fake_cuda import FakeCudaRuntime
from fake_tensorrt import fake_gpu
from tiny_bundle import write_tiny_bundle

from vidtag_cli.bundle import load_bundle
from vidtag_cli.engines.compile import compile_graph, targets_for
from vidtag_cli.engines.tensorrt_library import import_tensorrt


@pytest.fixture
def graph(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path / "home"))
    return load_bundle(write_tiny_bundle(tmp_path)).graphs["tempgeo"]


@pytest.mark.parametrize(("device", "index"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_tensorrt_builds_on_the_gpu_whose_engine_it_is(graph, monkeypatch, device, index):
    with fake_gpu(monkeypatch, "tensorrt", cuda=FakeCudaRuntime(count=2)) as trt:
        (target,) = targets_for(import_tensorrt("tensorrt"), [], device)
        compile_graph(graph, "tensorrt", target, window_frames=16, device=device)
        assert [built["device"] for built in trt.built] == [index]


def test_rtx_builds_for_a_named_kind_of_gpu_with_none_here(graph, monkeypatch):
    no_gpu = FakeCudaRuntime()
    no_gpu.fail_with["cudaGetDeviceCount"] = no_gpu.cudaError_t.cudaErrorInsufficientDriver
    with fake_gpu(monkeypatch, "tensorrt_rtx", cuda=no_gpu) as trt:
        (target,) = targets_for(import_tensorrt("tensorrt_rtx"), ["sm89"])
        compile_graph(graph, "tensorrt_rtx", target, window_frames=16)
        assert [built["target"] for built in trt.built] == ["SM89"]
