from __future__ import annotations

import gc
import inspect

import numpy as np
import pytest
from fake_cuda import FakeCudaRuntime
from fake_tensorrt import fake_gpu
from tiny_bundle import example_inputs, reference, write_tiny_bundle

from vidtag_cli.bundle import load_bundle
from vidtag_cli.engines import open_engine
from vidtag_cli.engines.cuda_runtime import CudaRuntime
from vidtag_cli.errors import ModelError, UsageError

TOLERANCE = {"rtol": 1e-5, "atol": 1e-4}
"""Float32 sums over 64 pixels, as in tests/contracts/test_engines.py."""


@pytest.fixture
def graphs(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path / "home"))
    return load_bundle(write_tiny_bundle(tmp_path)).graphs


@pytest.fixture(params=["tensorrt", "tensorrt_rtx"])
def trt(request, graphs, monkeypatch):
    with fake_gpu(monkeypatch, request.param) as module:
        yield module


def frames(graph, count, seed=0):
    return example_inputs(graph, {"N": count}, seed)


@pytest.mark.parametrize("count", [1, 3, 8, 9, 255, 256, 257, 700])
def test_every_batch_gives_its_own_rows_padded_or_in_parts(graphs, trt, count):
    graph = graphs["dual_encoder"]
    engine = open_engine(graph, trt.__name__)
    inputs = frames(graph, count)
    np.testing.assert_allclose(
        engine.run(inputs)["frame_features"], reference("dual_encoder", inputs)["frame_features"], **TOLERANCE
    )


def test_calls_in_flight_do_not_mix_in_whatever_order_they_are_collected(graphs, trt):
    graph = graphs["dual_encoder"]
    engine = open_engine(graph, trt.__name__)
    calls = [frames(graph, count, seed) for seed, count in enumerate((5, 300, 5, 1, 64, 5))]
    pending = [engine.submit(inputs) for inputs in calls]
    for index in (3, 0, 5, 1, 4, 2):
        expected = reference("dual_encoder", calls[index])["frame_features"]
        np.testing.assert_allclose(pending[index].result()["frame_features"], expected, **TOLERANCE)
        assert pending[index].result()["frame_features"].shape == expected.shape


def test_submitting_does_not_wait_for_the_gpu_and_the_caller_may_reuse_its_array(graphs, trt):
    graph = graphs["dual_encoder"]
    engine = open_engine(graph, trt.__name__)
    engine.run(frames(graph, 4)), engine.run(frames(graph, 4))  # both slots have had their first run
    trt.cuda.calls.clear()
    inputs = frames(graph, 4, seed=1)
    expected = reference("dual_encoder", inputs)["frame_features"]
    pending = engine.submit(inputs)
    assert not {"cudaEventSynchronize", "cudaStreamSynchronize"} & set(trt.cuda.calls)
    inputs["frames_rgb"][:] = 0
    np.testing.assert_allclose(pending.result()["frame_features"], expected, **TOLERANCE)


def test_the_copy_of_the_next_call_goes_through_a_stream_of_its_own(graphs, monkeypatch):
    with fake_gpu(monkeypatch) as trt:
        graph = graphs["dual_encoder"]
        engine = open_engine(graph, "tensorrt")
        streams = {"to device": set(), "to host": set()}
        copy = trt.cuda.cudaMemcpyAsync

        def noted(target, source, size, kind, stream):
            streams[kind].add(int(stream))
            return copy(target, source, size, kind, stream)

        trt.cuda.cudaMemcpyAsync = noted
        engine.run(frames(graph, 4))
        assert len(streams["to device"]) == len(streams["to host"]) == 1
        assert not streams["to device"] & streams["to host"]


def test_usual_shapes_are_captured_once_and_replayed(graphs, monkeypatch):
    with fake_gpu(monkeypatch) as trt:
        graph = graphs["dual_encoder"]
        engine = open_engine(graph, "tensorrt")
        for count in (4, 4, 4, 4, 32, 32, 4, 32, 32, 4):
            inputs = frames(graph, count, seed=count)
            expected = reference("dual_encoder", inputs)["frame_features"]
            np.testing.assert_allclose(engine.run(inputs)["frame_features"], expected, **TOLERANCE)
        assert engine.describe()["cuda_graphs"] == 4  # two shapes in two slots
        assert trt.cuda.calls.count("cudaStreamBeginCapture") == 4
        assert trt.cuda.launches == 6


def test_a_clip_shorter_than_the_window_is_run_without_a_graph(graphs, monkeypatch):
    with fake_gpu(monkeypatch):
        graph = graphs["tempgeo"]
        engine = open_engine(graph, "tensorrt", window_frames=6)
        for length in (3, 4, 3, 5, 3, 6, 3):
            inputs = example_inputs(graph, {"B": 1, "T": length}, seed=length)
            expected = reference("tempgeo", inputs)["frame_embedding"]
            np.testing.assert_allclose(engine.run(inputs)["frame_embedding"], expected, **TOLERANCE)
        assert engine.describe()["cuda_graphs"] == 0


def test_a_run_that_cannot_be_captured_is_an_error_and_the_stream_is_usable_again(graphs, monkeypatch):
    with fake_gpu(monkeypatch) as trt:
        graph = graphs["dual_encoder"]
        engine = open_engine(graph, "tensorrt")
        engine.run(frames(graph, 4)), engine.run(frames(graph, 4))
        trt.cuda.fail_with["cudaGraphInstantiate"] = trt.cuda.cudaError_t.cudaErrorIllegalAddress
        with pytest.raises(ModelError, match="cudaGraphInstantiate failed with cudaErrorIllegalAddress: words for"):
            engine.run(frames(graph, 4))
        trt.cuda.fail_with.clear()
        engine.run(frames(graph, 8))


def check_runs(graph, engine, count=5):
    for seed in range(count):  # two plain runs and two captures in the two slots, and a launch
        inputs = frames(graph, 4, seed)
        expected = reference("dual_encoder", inputs)["frame_features"]
        np.testing.assert_allclose(engine.run(inputs)["frame_features"], expected, **TOLERANCE)


def test_after_a_first_run_that_failed_the_next_is_a_first_one_again(graphs, trt):
    engine = open_engine(graphs["dual_encoder"], trt.__name__)
    trt.failing_runs.append(False)
    with pytest.raises(ModelError, match="dual_encoder: .* a run failed"):
        engine.run(frames(graphs["dual_encoder"], 4))
    check_runs(graphs["dual_encoder"], engine)


@pytest.mark.parametrize(("outcome", "error"), [(False, ModelError), (KeyboardInterrupt(), KeyboardInterrupt)])
def test_a_capture_that_is_given_up_leaves_no_graph_and_a_usable_stream(graphs, monkeypatch, outcome, error):
    with fake_gpu(monkeypatch) as trt:
        graph = graphs["dual_encoder"]
        engine = open_engine(graph, "tensorrt")
        check_runs(graph, engine, count=2)
        trt.failing_runs.append(outcome)
        with pytest.raises(error):
            engine.run(frames(graph, 4))
        assert trt.cuda.live["graph"] == 0
        check_runs(graph, engine)


def test_a_runtime_cache_that_is_refused_is_an_error(graphs, monkeypatch):
    with fake_gpu(monkeypatch, "tensorrt_rtx") as trt:
        trt.refuse_runtime_cache = True
        with pytest.raises(ModelError, match="did not take a cache for the kernels"):
            open_engine(graphs["tempgeo"], "tensorrt_rtx")


def test_rtx_is_told_to_compile_before_it_runs_and_to_capture_by_itself(graphs, monkeypatch):
    with fake_gpu(monkeypatch, "tensorrt_rtx") as trt:
        engine = open_engine(graphs["tempgeo"], "tensorrt_rtx")
        (config,) = trt.runtime_configs
        assert config.dynamic_shapes_kernel_specialization_strategy.name == "EAGER"
        assert config.cuda_graph_strategy.name == "WHOLE_GRAPH_CAPTURE"
        for _ in range(4):
            engine.run(example_inputs(graphs["tempgeo"], {"B": 1, "T": 16}))
        assert "cudaStreamBeginCapture" not in trt.cuda.calls
        assert engine.describe()["cuda_graphs"] == "by the library"


def test_kernels_that_rtx_compiled_are_kept_for_the_same_gpu_and_driver_only(graphs, monkeypatch):
    graph = graphs["tempgeo"]
    inputs = example_inputs(graph, {"B": 1, "T": 16})

    def kernels_on(name):
        with fake_gpu(monkeypatch, "tensorrt_rtx", cuda=FakeCudaRuntime(name)) as trt:
            open_engine(graph, "tensorrt_rtx").run(inputs)
            return trt.runtime_configs[0].cache.kernels

    assert kernels_on("GeForce RTX 4090") == b""
    assert kernels_on("GeForce RTX 4090") == b"compiled kernels"
    assert kernels_on("L40S") == b""


def test_kernels_that_this_program_did_not_save_are_not_loaded(graphs, monkeypatch, tmp_path):
    graph = graphs["tempgeo"]
    inputs = example_inputs(graph, {"B": 1, "T": 16})
    for _ in range(2):
        with fake_gpu(monkeypatch, "tensorrt_rtx") as trt:
            open_engine(graph, "tensorrt_rtx").run(inputs)
            assert trt.runtime_configs[0].cache.kernels == b""
        (saved,) = (tmp_path / "home/cache/engines").glob("*.kernels")
        saved.write_bytes(b"evil kernels")


def test_closing_gives_all_memory_back(graphs, trt):
    engine = open_engine(graphs["dual_encoder"], trt.__name__)
    engine.run(frames(graphs["dual_encoder"], 300))
    pending = engine.submit(frames(graphs["dual_encoder"], 4))
    engine.close()
    assert trt.cuda.allocated == {} and not +trt.cuda.live
    engine.close()
    assert pending.result()["frame_features"].shape == (4, 6)


def test_a_forgotten_engine_gives_its_memory_back(graphs, trt):
    engine = open_engine(graphs["dual_encoder"], trt.__name__)
    check_runs(graphs["dual_encoder"], engine)
    trt.runtime_configs.clear()
    del engine
    gc.collect()
    assert trt.cuda.allocated == {} and not +trt.cuda.live
    # Two contexts: one a slot. The compiled kernels of RTX must outlive them.
    assert trt.released == ["context", "context", "runtime cache"][: 2 if trt.__name__ == "tensorrt" else 3]


def test_no_memory_on_the_gpu_says_what_to_do(graphs, trt):
    trt.cuda.fail_with["cudaMalloc"] = trt.cuda.cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises(ModelError, match="cudaMalloc failed with cudaErrorMemoryAllocation.*use a smaller batch"):
        open_engine(graphs["dual_encoder"], trt.__name__)
    assert trt.cuda.allocated == {} and not +trt.cuda.live


def test_an_error_of_a_copy_is_not_lost(graphs, trt):
    engine = open_engine(graphs["dual_encoder"], trt.__name__)
    trt.cuda.fail_with["cudaMemcpyAsync"] = trt.cuda.cudaError_t.cudaErrorIllegalAddress
    with pytest.raises(ModelError, match="cudaMemcpyAsync failed with cudaErrorIllegalAddress"):
        engine.run(frames(graphs["dual_encoder"], 4))


@pytest.mark.parametrize("part", ["Builder", "Runtime"])
def test_a_library_that_refuses_gpu_or_driver_says_why(graphs, trt, part):
    trt.refuse_to_open = part
    with pytest.raises(ModelError, match=rf"{trt.__name__} .* no {part} .*CUDA initialization failure with error: 35"):
        open_engine(graphs["tempgeo"], trt.__name__)


@pytest.mark.parametrize("device", ["cpu", "gpu", "cuda:", "cuda:x"])
def test_a_device_that_is_no_gpu_is_refused(graphs, trt, device):
    with pytest.raises(ModelError, match="runs on NVIDIA GPUs only: give --device cuda"):
        open_engine(graphs["tempgeo"], trt.__name__, device)


def test_a_gpu_that_there_is_not_is_refused(graphs, trt):
    with pytest.raises(ModelError, match=r"cuda:1: this machine has 1 usable GPU"):
        open_engine(graphs["tempgeo"], trt.__name__, "cuda:1")


def test_no_threads_are_no_choice(graphs, trt):
    with pytest.raises(UsageError, match="at least 1"):
        open_engine(graphs["tempgeo"], trt.__name__, threads=0)


def test_an_old_tensorrt_is_refused_with_the_version_needed(graphs, monkeypatch):
    with (
        fake_gpu(monkeypatch, "tensorrt", "10.3.0"),
        pytest.raises(ModelError, match=r"tensorrt 10\.3\.0 is too old: at least 10\.14"),
    ):
        open_engine(graphs["tempgeo"], "tensorrt")


def test_a_module_of_another_maker_is_refused(graphs, monkeypatch):
    with fake_gpu(monkeypatch, "tensorrt") as trt:
        monkeypatch.delattr(type(trt), "OnnxParser")
        with pytest.raises(ModelError, match="the Python module is not NVIDIA's"):
            open_engine(graphs["tempgeo"], "tensorrt")


def test_the_bindings_have_every_function_that_is_called():
    bindings = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    source = inspect.getsource(CudaRuntime)
    called = {name for name in dir(FakeCudaRuntime) if name.startswith("cuda")}
    assert {name for name in called if f'"{name}"' in source or f".{name}(" in source} == called
    assert {name for name in called if not hasattr(bindings, name)} == set()
    assert bindings.cudaMemcpyKind.cudaMemcpyHostToDevice and bindings.cudaError_t.cudaErrorMemoryAllocation
    assert bindings.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
