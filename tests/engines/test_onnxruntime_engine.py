from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from fake_tensorrt import fake_gpu
from onnx import TensorProto, helper
from tiny_bundle import example_inputs, graph_model, reference, write_tiny_bundle

from vidtag_cli.bundle import load_bundle
from vidtag_cli.engines import onnxruntime_engine
from vidtag_cli.engines.onnxruntime_engine import OnnxRuntimeEngine, provider_of, usable_cpus
from vidtag_cli.engines.onnxruntime_session import probe_device
from vidtag_cli.engines.tensorrt_library import import_tensorrt
from vidtag_cli.errors import ModelError, UsageError


@pytest.fixture
def graph(tmp_path):
    return load_bundle(write_tiny_bundle(tmp_path)).graphs["tempgeo"]


@pytest.fixture(autouse=True)
def a_user_who_wants_tf32(monkeypatch):
    """Also puts the variable back, which opening TensorRT sets for the whole process."""
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")


def node(operator):
    return SimpleNamespace(op_type=operator)


TENSORRT_SWITCHES = {
    f"trt_{name}_enable" for name in ("fp16", "int8", "bf16", "engine_cache", "timing_cache", "cuda_graph")
}


def taken(provider, options):
    """Return what a provider reports of options it was given; TensorRT's takes two spellings and reports a third."""
    if provider != "TensorrtExecutionProvider":
        return options
    for name in TENSORRT_SWITCHES & set(options):
        if options[name] not in ("True", "False"):
            raise RuntimeError(f"The value for the key '{name}' should be 'True' or 'False'. Default value is 'False'.")
    return {n: {"True": "1", "False": "0"}[v] if n in TENSORRT_SWITCHES else v for n, v in options.items()}


class FakeOnnxRuntime:
    """An onnxruntime-gpu on a machine whose CUDA libraries do or do not load; sessions answer as the real ones do."""

    __version__ = "9.9"
    ExecutionMode = SimpleNamespace(ORT_SEQUENTIAL=0)

    def __init__(self, loaded, operators_on_cpu=(), operators_on_cuda=(), changed=None):
        self.loaded, self.changed = loaded, changed or {}
        self.operators = {"CPUExecutionProvider": operators_on_cpu, "CUDAExecutionProvider": operators_on_cuda}
        self.opened_with = None

    def get_available_providers(self):
        return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    def preload_dlls(self):
        self.tf32_when_loaded = os.environ.get("NVIDIA_TF32_OVERRIDE")
        print("Failed to load libcudnn.so.9: no such file\nPlease follow https://onnxruntime.ai to install CUDA.")

    def SessionOptions(self):
        entries = {}
        return SimpleNamespace(
            add_session_config_entry=entries.__setitem__, get_session_config_entry=entries.__getitem__
        )

    def InferenceSession(self, source, options, **arguments):
        self.opened_with = arguments
        assigned = [
            SimpleNamespace(ep_name=provider, get_nodes=lambda names=names: [node(name) for name in names])
            for provider, names in self.operators.items()
        ]
        reported = {provider: taken(provider, values) | self.changed for provider, values in arguments["providers"]}
        inputs = [SimpleNamespace(name="frame_features", type="tensor(float)", shape=["B", "T", 6])]
        outputs = [
            SimpleNamespace(name="refined_features", type="tensor(float)", shape=["B", "T", 6]),
            SimpleNamespace(name="frame_embedding", type="tensor(float)", shape=["B", "T", 4]),
        ]
        return SimpleNamespace(
            get_providers=lambda: self.loaded,
            get_provider_graph_assignment_info=lambda: assigned,
            get_provider_options=lambda: reported,
            get_session_options=lambda: options,
            get_inputs=lambda: inputs,
            get_outputs=lambda: outputs,
        )


class TensorRtOnCpu(FakeOnnxRuntime):
    """Runs bound inputs on the CPU and, as the provider does, with the first of the profiles it was given only."""

    OrtValue = SimpleNamespace(
        ortvalue_from_shape_and_type=lambda shape, dtype, kind, index: (
            onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, "cpu", 0)
        )
    )

    def InferenceSession(self, source, options, **arguments):
        real = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
        profile = {bound: arguments["providers"][0][1][f"trt_profile_{bound}_shapes"] for bound in ("min", "max")}

        def io_binding():
            binding = real.io_binding()
            bind = binding.bind_ortvalue_input

            def bind_in_profile(name, value):
                least, most = (first_shape(profile[bound], name) for bound in ("min", "max"))
                if not all(low <= n <= high for low, n, high in zip(least, value.shape(), most, strict=True)):
                    raise RuntimeError(
                        f"TensorRT EP failed to call nvinfer1::IExecutionContext::setInputShape() {name}"
                    )
                bind(name, value)

            binding.bind_ortvalue_input = bind_in_profile
            return binding

        session = super().InferenceSession(source, options, **arguments)
        session.io_binding, session.run_with_iobinding = io_binding, real.run_with_iobinding
        return session


def first_shape(shapes, name):
    text = next(text for text in shapes.split(",") if text.startswith(f"{name}:"))
    return tuple(map(int, text.partition(":")[2].split("x")))


def use(monkeypatch, fake):
    monkeypatch.setattr(onnxruntime_engine, "import_onnxruntime", lambda: fake)


def test_a_provider_that_did_not_load_is_an_error_and_no_fall_back(graph, monkeypatch):
    use(monkeypatch, FakeOnnxRuntime(loaded=["CPUExecutionProvider"]))
    with pytest.raises(ModelError, match=r"could not load CUDAExecutionProvider.*vidtag-geo\[gpu\]"):
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


def test_an_option_that_was_not_taken_is_an_error(graph, monkeypatch):
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    use(monkeypatch, FakeOnnxRuntime(both, changed={"use_tf32": "1"}))
    with pytest.raises(ModelError, match=r"did not take use_tf32=0 for CUDAExecutionProvider \(it says 1\)"):
        OnnxRuntimeEngine(graph, "cuda")


def test_options_may_be_reported_in_another_spelling(graph, monkeypatch):
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    use(monkeypatch, FakeOnnxRuntime(both, changed={"use_tf32": "False"}))
    OnnxRuntimeEngine(graph, "cuda")


@pytest.fixture
def tensorrt_installed(monkeypatch):
    with fake_gpu(monkeypatch) as module:
        yield module


ALL_PROVIDERS = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


def test_tensorrt_gets_the_profile_of_the_graph_and_no_cache_it_could_load_foreign_engines_from(
    graph, monkeypatch, tensorrt_installed
):
    fake = FakeOnnxRuntime(ALL_PROVIDERS, operators_on_cpu=["Shape"], operators_on_cuda=["Gather"])
    use(monkeypatch, fake)
    OnnxRuntimeEngine(graph, "cuda:1", with_tensorrt=True, window_frames=8)
    (provider, options), (partner, _) = fake.opened_with["providers"]
    assert (provider, partner) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert options["trt_profile_min_shapes"] == "frame_features:1x1x6"
    assert options["trt_profile_opt_shapes"] == "frame_features:8x8x6"
    assert options["trt_profile_max_shapes"] == "frame_features:16x8x6"
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "False"
    assert options["trt_fp16_enable"] == "False"


@pytest.mark.parametrize("clips", [1, 2, 16, 17, 40])
def test_tensorrt_takes_every_number_of_rows_in_parts_that_fit_its_profile(
    graph, monkeypatch, tensorrt_installed, clips
):
    use(monkeypatch, TensorRtOnCpu(ALL_PROVIDERS))
    engine = OnnxRuntimeEngine(graph, "cuda", with_tensorrt=True, window_frames=8)
    inputs = example_inputs(graph, {"B": clips, "T": 5})
    outputs, expected = engine.run(inputs), reference("tempgeo", inputs)
    for name, values in expected.items():
        # Float32 sums over 6 features, as in tests/contracts/test_engines.py.
        np.testing.assert_allclose(outputs[name], values, rtol=1e-5, atol=1e-4)


def test_a_clip_longer_than_the_profile_is_refused_with_the_limits(graph, monkeypatch, tensorrt_installed):
    use(monkeypatch, TensorRtOnCpu(ALL_PROVIDERS))
    engine = OnnxRuntimeEngine(graph, "cuda", with_tensorrt=True, window_frames=8)
    with pytest.raises(ModelError, match=r"tempgeo: the engine was built for .*'T': 'at most 8'"):
        engine.run(example_inputs(graph, {"B": 1, "T": 9}))


def test_heavy_work_that_tensorrt_left_to_cuda_is_an_error(graph, monkeypatch, tensorrt_installed):
    use(monkeypatch, FakeOnnxRuntime(ALL_PROVIDERS, operators_on_cuda=["MatMul", "Gather"]))
    with pytest.raises(ModelError, match=r"would run MatMul without TensorRT: use --engine onnxruntime"):
        OnnxRuntimeEngine(graph, "cuda", with_tensorrt=True)


def test_a_tensorrt_provider_that_did_not_load_says_which_tensorrt_is_installed(graph, monkeypatch, tensorrt_installed):
    use(monkeypatch, FakeOnnxRuntime(ALL_PROVIDERS[1:]))
    with pytest.raises(ModelError, match=r"could not load TensorrtExecutionProvider \(TensorRT 10\.14\.1 is installed"):
        OnnxRuntimeEngine(graph, "cuda", with_tensorrt=True)


class NoTensorRtLibraries(FakeOnnxRuntime):
    """What the wheel does when libnvinfer of the release it was built for cannot be loaded: it raises."""

    def InferenceSession(self, source, options, **arguments):
        raise RuntimeError(
            "TensorRT execution provider is enabled but failed to be created.\nPlease install TensorRT libraries as "
            "mentioned in the GPU requirements page, make sure they're in the PATH or LD_LIBRARY_PATH."
        )


def test_tensorrt_libraries_of_another_release_are_named_beside_what_onnxruntime_wants(
    graph, monkeypatch, tensorrt_installed
):
    tensorrt_installed.__version__ = "11.4.0"
    use(monkeypatch, NoTensorRtLibraries(ALL_PROVIDERS))
    with pytest.raises(
        ModelError, match=r"install TensorRT libraries.*\(TensorRT 11\.4\.0 is installed.*'tensorrt<11'"
    ):
        OnnxRuntimeEngine(graph, "cuda", with_tensorrt=True)


def test_tensorrt_starts_with_tf32_off_and_says_so(graph, monkeypatch, tensorrt_installed):
    fake = FakeOnnxRuntime(ALL_PROVIDERS)
    use(monkeypatch, fake)
    engine = OnnxRuntimeEngine(graph, "cuda", with_tensorrt=True)
    assert fake.tf32_when_loaded == "0"
    assert engine.describe()["environment"] == {"NVIDIA_TF32_OVERRIDE": "0"}


def test_what_the_library_prints_while_it_loads_is_logged_and_not_on_stdout(graph, monkeypatch, capsys, caplog):
    use(monkeypatch, FakeOnnxRuntime(ALL_PROVIDERS[1:]))
    with caplog.at_level("DEBUG"):
        OnnxRuntimeEngine(graph, "cuda")
    assert capsys.readouterr().out == ""
    assert "libcudnn.so.9" in caplog.text


def test_tensorrt_through_onnxruntime_needs_the_package_tensorrt(graph, monkeypatch):
    use(monkeypatch, FakeOnnxRuntime(ALL_PROVIDERS))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    import_tensorrt.cache_clear()
    with pytest.raises(ModelError, match=r"its TensorRT provider needs the libraries.*install vidtag-geo\[gpu\]"):
        OnnxRuntimeEngine(graph, "cuda", with_tensorrt=True)


def test_tensorrt_does_not_run_on_the_cpu(graph):
    with pytest.raises(ModelError, match="NVIDIA GPUs only: give --device cuda"):
        OnnxRuntimeEngine(graph, "cpu", with_tensorrt=True)


def test_a_cpu_wheel_asked_for_cuda_names_the_package_to_install(graph):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has the CUDA provider")
    with pytest.raises(ModelError, match=r"has no CUDAExecutionProvider.*install vidtag-geo\[gpu\]"):
        OnnxRuntimeEngine(graph, "cuda")
    assert "vidtag-geo[gpu]" in probe_device("cuda")


def test_a_missing_package_is_an_error_that_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "install vidtag-geo[cpu]" in probe_device("cpu")


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
    shape = helper.make_tensor("shape", TensorProto.INT64, [3], [0, 0, 4])
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
from vidtag_cli.engines.onnxruntime_session import probe_device
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


def changed_graph(tmp_path, change):
    """The small temporal graph with something else in its file, and the contract of the true one."""
    graph = load_bundle(write_tiny_bundle(tmp_path)).graphs["tempgeo"]
    model = graph_model("tempgeo")
    change(model.graph)
    graph.path.write_bytes(model.SerializeToString())
    return graph


def set_dimension(value, axis, size):
    dimension = value.type.tensor_type.shape.dim[axis]
    dimension.Clear()
    if size:
        dimension.dim_value = size


def set_width(initializer, width):
    array = np.ones((initializer.dims[0], width), np.float32)
    initializer.CopyFrom(onnx.numpy_helper.from_array(array, initializer.name))


def widen(name, width):
    """Compute with weights of another width, and state the promised shapes all the same."""
    return lambda graph: set_width(next(i for i in graph.initializer if i.name == name), width)


def hide_the_width(graph):
    set_dimension(graph.output[1], 2, None)
    widen("frame", 7)(graph)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: set_dimension(g.input[0], 0, 1), r"inputs: frame_features has the shape \[1, 'T', 6\]"),
        (lambda g: set_dimension(g.input[0], 1, 8), r"inputs: frame_features has the shape \['B', 8, 6\]"),
        (hide_the_width, r"outputs: frame_embedding has the shape \['B', 'T', 7\]"),
        (lambda g: setattr(g.input[0].type.tensor_type, "elem_type", 11), r"tempgeo\.onnx"),
        (lambda g: setattr(g.output[0], "name", "mixed"), r"outputs \(name, dtype, dimensions\)"),
    ],
)
def test_a_graph_that_states_something_else_is_refused_with_its_file(tmp_path, change, message):
    with pytest.raises(ModelError, match=message):
        OnnxRuntimeEngine(changed_graph(tmp_path, change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (widen("frame", 7), r"tempgeo: output frame_embedding: expected shape \(B, T, 4\)"),
        (widen("time", 9), r"tempgeo: onnxruntime failed on cpu"),
    ],
)
def test_a_graph_that_computes_something_else_is_refused_when_it_runs(tmp_path, change, message):
    engine = OnnxRuntimeEngine(changed_graph(tmp_path, change))
    with pytest.raises(ModelError, match=message):
        engine.run({"frame_features": np.ones((1, 2, 6), np.float32)})
