from __future__ import annotations

import os
import sys

import pytest
from fake_cuda import FakeCudaRuntime
from fake_tensorrt import fake_gpu
from tiny_bundle import write_tiny_bundle

from vidtag_cli.bundle import load_bundle
from vidtag_cli.engines import available_engines, default_device, has_float64, open_engine
from vidtag_cli.engines.cuda_runtime import open_cuda
from vidtag_cli.engines.tensorrt_library import import_tensorrt
from vidtag_cli.errors import ModelError, UsageError


@pytest.fixture
def graph(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path / "home"))
    return load_bundle(write_tiny_bundle(tmp_path)).graphs["tempgeo"]


@pytest.mark.parametrize("name", ["onnxruntime", "tensorrt_rtx"])
def test_a_graph_below_a_name_that_is_no_utf8_is_said_before_a_library_meets_it(tmp_path, name):
    folder = tmp_path / os.fsdecode(b"case \xff")
    folder.mkdir()
    with pytest.raises(ModelError, match="not UTF-8: rename"):
        open_engine(load_bundle(write_tiny_bundle(folder)).graphs["tempgeo"], name, "cpu")


@pytest.fixture
def no_caches():
    """Modules are remembered for the whole process; a test that hides one must not see it, nor hide it from others."""
    caches = (import_tensorrt, open_cuda)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize(
    ("name", "extra"), [("tensorrt", r"vidtag-geo\[gpu\]"), ("tensorrt_rtx", r"vidtag-geo\[rtx\]")]
)
def test_a_missing_runner_is_an_error_that_names_the_package(graph, monkeypatch, no_caches, name, extra):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModelError, match=rf"{name} cannot be imported .*: install {extra}"):
        open_engine(graph, name, "cuda")
    reasons = {status.name: status.reason for status in available_engines()}
    assert name in reasons[name] and "install vidtag-geo[" in reasons[name]


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx"])
def test_a_missing_cuda_package_is_an_error_that_names_it(graph, monkeypatch, no_caches, name):
    with fake_gpu(monkeypatch, name), monkeypatch.context() as hidden:
        hidden.setitem(sys.modules, "cuda.bindings.runtime", None)
        with pytest.raises(ModelError, match=r"install cuda-bindings, part of vidtag-geo\[gpu\] and vidtag-geo\[rtx\]"):
            open_engine(graph, name)


def test_an_unknown_engine_is_named_with_those_there_are(graph):
    with pytest.raises(
        UsageError,
        match="unknown engine .openvino.; there are onnxruntime, onnxruntime_tensorrt, tensorrt, tensorrt_rtx",
    ):
        open_engine(graph, "openvino")


def test_every_engine_is_listed_and_says_why_it_cannot_run():
    statuses = available_engines()
    assert [(s.name, s.device) for s in statuses] == [
        ("onnxruntime", "cpu"),
        ("onnxruntime", "cuda"),
        ("onnxruntime_tensorrt", "cuda"),
        ("tensorrt", "cuda"),
        ("tensorrt_rtx", "cuda"),
    ]
    assert statuses[0].usable
    assert all(status.usable != bool(status.reason) for status in statuses)


def test_a_library_without_a_gpu_still_says_what_it_builds_for(monkeypatch):
    cuda = FakeCudaRuntime()
    cuda.fail_with["cudaGetDeviceCount"] = cuda.cudaError_t.cudaErrorInsufficientDriver
    with fake_gpu(monkeypatch, "tensorrt_rtx", cuda=cuda):
        (status,) = (status for status in available_engines() if status.name == "tensorrt_rtx")
    assert not status.usable and "cudaErrorInsufficientDriver" in status.reason
    assert status.builds_for == ("sm75", "sm86", "sm89", "sm120")


def test_a_gpu_that_rtx_has_no_target_for_is_sent_to_tensorrt(graph, monkeypatch):
    hopper = FakeCudaRuntime("NVIDIA H100", (9, 0))
    with fake_gpu(monkeypatch, "tensorrt_rtx", cuda=hopper):
        with pytest.raises(
            ModelError, match=r"NVIDIA H100: .* not for sm90: use --engine tensorrt \(install vidtag-geo\[gp"
        ):
            open_engine(graph, "tensorrt_rtx")
        (status,) = (status for status in available_engines() if status.name == "tensorrt_rtx")
    assert not status.usable and "sm90" in status.reason


def test_an_engine_runs_on_its_own_device_unless_told_otherwise(graph, monkeypatch):
    assert open_engine(graph).describe()["device"] == default_device("onnxruntime") == "cpu"
    with fake_gpu(monkeypatch, "tensorrt"):
        assert open_engine(graph, "tensorrt").describe()["device"] == default_device("tensorrt") == "cuda"


def test_only_onnxruntime_itself_knows_float64():
    assert [
        name for name in ("onnxruntime", "onnxruntime_tensorrt", "tensorrt", "tensorrt_rtx") if has_float64(name)
    ] == ["onnxruntime"]
