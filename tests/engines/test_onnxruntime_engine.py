from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tiny_bundle import example_inputs, write_tiny_bundle

from vidtag_cli.bundle import load_bundle
from vidtag_cli.engines import onnxruntime_engine
from vidtag_cli.engines.onnxruntime_engine import OnnxRuntimeEngine, probe_device, provider_of, usable_cpus
from vidtag_cli.errors import ModelError, UsageError


@pytest.fixture
def graph(tmp_path):
    return load_bundle(write_tiny_bundle(tmp_path)).graphs["tempgeo"]


def node(operator):
    return SimpleNamespace(op_type=operator)


class FakeOnnxRuntime:
    """An onnxruntime-gpu on a machine whose CUDA libraries do or do not load; sessions answer as the real ones do."""

    __version__ = "9.9"
    ExecutionMode = SimpleNamespace(ORT_SEQUENTIAL=0)

    def __init__(self, loaded, operators_on_cpu=()):
        self.loaded, self.operators_on_cpu = loaded, operators_on_cpu
        self.opened_with = None

    def get_available_providers(self):
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def preload_dlls(self):
        pass

    def SessionOptions(self):
        return SimpleNamespace(add_session_config_entry=lambda key, value: None)

    def InferenceSession(self, source, options, **arguments):
        self.opened_with = arguments
        on_cpu = SimpleNamespace(
            ep_name="CPUExecutionProvider", get_nodes=lambda: [node(name) for name in self.operators_on_cpu]
        )
        inputs = [SimpleNamespace(name="frame_features", type="tensor(float)", shape=["B", "T", 6])]
        outputs = [
            SimpleNamespace(name="refined_features", type="tensor(float)", shape=["B", "T", 6]),
            SimpleNamespace(name="frame_embedding", type="tensor(float)", shape=["B", "T", 4]),
        ]
        return SimpleNamespace(
            get_providers=lambda: self.loaded,
            get_provider_graph_assignment_info=lambda: [on_cpu],
            get_inputs=lambda: inputs,
            get_outputs=lambda: outputs,
        )


def use(monkeypatch, fake):
    monkeypatch.setattr(onnxruntime_engine, "import_onnxruntime", lambda: fake)


def test_a_provider_that_did_not_load_is_an_error_and_no_fall_back(graph, monkeypatch):
    use(monkeypatch, FakeOnnxRuntime(loaded=["CPUExecutionProvider"]))
    with pytest.raises(ModelError, match=r"could not load CUDAExecutionProvider.*vidtag\[gpu\]"):
        OnnxRuntimeEngine(graph, "cuda")


def test_heavy_work_left_on_the_cpu_is_an_error(graph, monkeypatch):
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    use(monkeypatch, FakeOnnxRuntime(both, operators_on_cpu=["Shape", "Attention"]))
    with pytest.raises(ModelError, match=r"tempgeo: onnxruntime 9\.9 would run Attention on the CPU although cuda"):
        OnnxRuntimeEngine(graph, "cuda")


def test_shape_arithmetic_may_stay_on_the_cpu(graph, monkeypatch):
    fake = FakeOnnxRuntime(["CUDAExecutionProvider", "CPUExecutionProvider"], operators_on_cpu=["Shape", "Gather"])
    use(monkeypatch, fake)
    OnnxRuntimeEngine(graph, "cuda:1")
    ((provider, options),) = fake.opened_with["providers"]
    assert provider == "CUDAExecutionProvider"
    assert options["device_id"] == "1" and options["use_tf32"] == "0"
    assert fake.opened_with["enable_fallback"] == 0


def test_a_cpu_wheel_asked_for_cuda_names_the_package_to_install(graph):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has the CUDA provider")
    with pytest.raises(ModelError, match=r"has no CUDAExecutionProvider.*install vidtag\[gpu\]"):
        OnnxRuntimeEngine(graph, "cuda")
    assert "vidtag[gpu]" in probe_device("cuda")


def test_a_missing_package_is_an_error_that_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "install vidtag[cpu]" in probe_device("cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CPU", "", "cpu:0"])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(ModelError, match="unknown device"):
        provider_of(device)


@pytest.mark.parametrize("threads", [0, -2])
def test_no_threads_are_no_choice(graph, threads):
    with pytest.raises(UsageError, match="at least 1"):
        OnnxRuntimeEngine(graph, threads=threads)


def test_the_default_uses_the_cpus_of_this_process(graph):
    assert OnnxRuntimeEngine(graph).describe()["threads"] == usable_cpus()


def test_a_model_cannot_bring_session_options_of_its_own(graph, monkeypatch):
    monkeypatch.setenv("ORT_LOAD_CONFIG_FROM_MODEL", "1")
    model = onnx.load(graph.path)
    entry = model.metadata_props.add()
    entry.key, entry.value = "ort_config", '{"session_options": {"intra_op_num_threads": 7}}'
    graph.path.write_bytes(model.SerializeToString())
    assert OnnxRuntimeEngine(graph, threads=1).describe()["threads"] == 1


def test_a_failure_while_running_names_graph_device_and_shapes(graph):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", "T", d]) for name, d in (("x", 6), ("e", 4))]
    values[0].name = "frame_features"
    refined = helper.make_tensor_value_info("refined_features", TensorProto.FLOAT, ["B", "T", 6])
    values[1].name = "frame_embedding"
    shape = helper.make_tensor("shape", TensorProto.INT64, [3], [1, 1, 4])
    nodes = [
        helper.make_node("Identity", ["frame_features"], ["refined_features"]),
        helper.make_node("Reshape", ["frame_features", "shape"], ["frame_embedding"]),
    ]
    broken = helper.make_graph(nodes, "g", values[:1], [refined, values[1]], [shape])
    model = helper.make_model(broken, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    graph.path.write_bytes(model.SerializeToString())
    engine = OnnxRuntimeEngine(graph)
    with pytest.raises(ModelError, match=r"tempgeo: onnxruntime failed on cpu with .*\(2, 3, 6\)"):
        engine.run(example_inputs(graph, {"B": 2, "T": 3}))


SCRIPT = """
from vidtag_cli.engines.onnxruntime_engine import probe_device
problem = probe_device("cpu")
assert not problem, problem
"""


def test_the_library_reports_nothing_and_leaves_no_device_id(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ORT_"))}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": os.getcwd(), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.rglob("*")) == []


def test_large_batches_do_not_change_small_ones(graph):
    engine = OnnxRuntimeEngine(graph, threads=1)
    inputs = example_inputs(graph, {"B": 40, "T": 16})
    together = engine.run(inputs)["frame_embedding"]
    alone = engine.run({"frame_features": inputs["frame_features"][7:8]})["frame_embedding"]
    # Another batch size may sum in another order: float32 rounding of sums over 6 features.
    np.testing.assert_allclose(together[7:8], alone, rtol=1e-5, atol=1e-6)
