"""Building engines on a fake library, and on the real tensorrt_rtx where it is installed (it needs no GPU)."""

from __future__ import annotations

import importlib.util
import signal

import numpy as np
import onnx
import pytest
from fake_tensorrt import fake_gpu
from onnx import TensorProto, helper
from tiny_bundle import write_tiny_bundle

from vidtag_cli.bundle import load_bundle
from vidtag_cli.engines import BuildObserver
from vidtag_cli.engines.build_observer import PhaseProgress
from vidtag_cli.engines.engine_build import BuildRequest, build_engine
from vidtag_cli.engines.engine_files import engine_store, ready_engine
from vidtag_cli.engines.engine_key import named_targets, target_named
from vidtag_cli.engines.profiles import profiles_of
from vidtag_cli.engines.tensorrt_library import import_tensorrt
from vidtag_cli.errors import ModelError

HAS_RTX = importlib.util.find_spec("tensorrt_rtx") is not None
needs_rtx = pytest.mark.skipif(not HAS_RTX, reason="tensorrt-rtx is not installed: pip install vidtag-geo[rtx]")


@pytest.fixture(params=["fake", pytest.param("real", marks=needs_rtx)])
def library(request, monkeypatch):
    if request.param == "real":
        yield import_tensorrt("tensorrt_rtx")
        return
    with fake_gpu(monkeypatch, "tensorrt_rtx", "1.7.1"):
        yield import_tensorrt("tensorrt_rtx")


@pytest.fixture
def graphs(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path / "home"))
    return load_bundle(write_tiny_bundle(tmp_path)).graphs


def request_for(library, graph, target="sm89", threads=1):
    return BuildRequest(library, graph, profiles_of(graph, 16), target_named(library, target), threads)


def test_a_float64_input_is_refused_not_rounded(library, graphs):
    with pytest.raises(
        ModelError, match=r"location_encoder\.onnx: input latlon_deg is float64, which tensorrt_rtx does"
    ):
        build_engine(request_for(library, graphs["location_encoder"]), BuildObserver())


def write_graph(graph, nodes, *initializers):
    """Replace a tempgeo by a graph with these nodes between its contract's tensors."""
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", "T", width])
        for name, width in (("frame_features", 6), ("refined_features", 6), ("frame_embedding", 4))
    ]
    made = helper.make_graph(nodes, "tempgeo", values[:1], values[1:], list(initializers))
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    graph.path.write_bytes(model.SerializeToString())


def test_a_node_that_the_library_cannot_take_is_named_with_its_operator(library, graphs):
    graph = graphs["tempgeo"]
    scales = onnx.numpy_helper.from_array(np.array([1.0, 1.0, 2.0], np.float32), "scales")
    nodes = [
        helper.make_node("Identity", ["frame_features"], ["refined_features"]),
        helper.make_node(
            "Resize", ["frame_features", "", "scales"], ["frame_embedding"], name="enlarge", mode="cubic", antialias=1
        ),
    ]
    write_graph(graph, nodes, scales)
    with pytest.raises(ModelError, match=r"tempgeo\.onnx: tensorrt_rtx .* cannot take .*enlarge.*\(operator Resize\)"):
        build_engine(request_for(library, graph), BuildObserver())


def test_other_tensors_than_the_bundle_s_are_named(library, graphs):
    graph = graphs["tempgeo"]
    graph.path.write_bytes(graphs["georefiner"].path.read_bytes())
    with pytest.raises(
        ModelError, match=r"tempgeo\.onnx: the inputs are .*location_embedding.* but the bundle promises"
    ):
        build_engine(request_for(library, graph), BuildObserver())


def test_a_file_that_is_no_graph_is_an_error_that_names_it(library, graphs):
    graphs["tempgeo"].path.write_bytes(b"\x00nonsense")
    with pytest.raises(ModelError, match=r"tempgeo\.onnx: "):
        build_engine(request_for(library, graphs["tempgeo"]), BuildObserver())


def test_progress_rises_to_the_end(library, graphs):
    shares = []
    build_engine(
        request_for(library, graphs["tempgeo"]), BuildObserver(progress=lambda done, total: shares.append(done / total))
    )
    assert shares == sorted(shares) and shares[-1] == 1.0 and 0.0 < shares[0] < 0.5


def test_a_signal_while_building_ends_the_build_and_not_the_process(library, graphs):
    def press_ctrl_c(done, total):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        build_engine(request_for(library, graphs["tempgeo"]), BuildObserver(progress=press_ctrl_c))


def test_an_error_while_showing_progress_ends_the_build_and_is_not_taken_for_a_refusal(library, graphs):
    def pipe_is_closed(done, total):
        raise BrokenPipeError("nobody reads stderr any more")

    with pytest.raises(BrokenPipeError, match="nobody reads stderr"):
        build_engine(request_for(library, graphs["tempgeo"]), BuildObserver(progress=pipe_is_closed))


@needs_rtx
@pytest.mark.parametrize("name", ["dual_encoder", "georefiner"])
def test_a_real_engine_is_built_without_a_gpu_kept_and_found_again(graphs, name):
    library = import_tensorrt("tensorrt_rtx")
    request, said = request_for(library, graphs[name]), []
    first = ready_engine(request, BuildObserver(said.append), engine_store())
    assert first.is_new and first.size_bytes == len(bytes(first.content)) > 1000
    assert first.build_seconds > 0 and first.peak_bytes > 50e6
    second = ready_engine(request, BuildObserver(said.append), engine_store())
    assert not second.is_new and second.sha256 == first.sha256
    assert bytes(second.content) == bytes(first.content)
    assert (second.build_seconds, second.peak_bytes) == (first.build_seconds, first.peak_bytes)
    assert len(said) == 1
    path = engine_store().folder / first.file
    path.write_bytes(path.read_bytes()[:-1])
    assert ready_engine(request, BuildObserver(said.append), engine_store()).is_new
    assert "cut short or changed" in said[1]


@needs_rtx
def test_the_targets_are_those_of_the_library():
    targets = named_targets(import_tensorrt("tensorrt_rtx"))
    assert {"sm75", "sm86", "sm89", "sm120"} <= set(targets)
    assert "sm90" not in targets


def test_the_share_done_counts_phases_inside_phases_and_never_falls():
    phases = PhaseProgress()
    phases.start("all", 2)
    phases.start("half", 4)
    shares = []
    for step in range(4):
        phases.step("half", step)
        shares.append(phases.share())
    phases.finish("half")
    shares.append(phases.share())
    phases.step("all", 0)
    phases.start("again", 2)
    shares.append(phases.share())
    assert shares == [0.125, 0.25, 0.375, 0.5, 0.5, 0.5]
