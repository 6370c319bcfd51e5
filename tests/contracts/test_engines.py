"""What every engine must do, run over every engine and device that this machine can run.

The runners of TensorRT also run without a GPU, on a fake library and a fake CUDA runtime that postpones all work as
long as CUDA may: their copies, waits, profiles and graphs are real, only the arithmetic is ONNX Runtime's.
"""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from fake_tensorrt import fake_gpu, location_encoder_in_parts
from tiny_bundle import example_inputs, reference, weights, write_tiny_bundle

from vidtag_cli.bundle import load_bundle
from vidtag_cli.bundle.float_parts import tensors_in_parts
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.engines import available_engines, has_float64, open_engine
from vidtag_cli.errors import ModelError

RELATIVE_TOLERANCE = 1e-5
"""Float32 has 24 bits (6e-8); sums over 64 pixels and 6 features lose a factor of about 100 in the worst order."""

ABSOLUTE_TOLERANCE = 1e-4
"""The same, for outputs near 0 that are sums of terms of up to 255."""

GRAPHS = ("dual_encoder", "tempgeo", "location_encoder", "georefiner")
FAKE = "on a fake GPU"
ENGINES = [
    pytest.param(
        (status.name, status.device),
        id=f"{status.name}-{status.device}",
        marks=[] if status.usable else pytest.mark.skip(reason=status.reason),
    )
    for status in available_engines()
] + [pytest.param((name, FAKE), id=f"{name}-fake") for name in ("tensorrt", "tensorrt_rtx")]


@pytest.fixture(params=ENGINES)
def engine_case(request, monkeypatch, tmp_path):
    """The name and device of an engine, with a fake GPU under it where the case asks for one."""
    name, device = request.param
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path / "home"))
    if device != FAKE:
        yield name, device
        return
    with fake_gpu(monkeypatch, name):
        yield name, "cuda"


@pytest.fixture
def engine_name(engine_case):
    return engine_case[0]


@pytest.fixture
def device(engine_case):
    return engine_case[1]


def graph_for(bundle, engine_name, name):
    """Return a graph of the bundle; for an engine without float64 the file that takes positions in two parts."""
    graph = bundle.graphs[name]
    if has_float64(engine_name) or name != "location_encoder":
        return graph
    path = graph.path.with_name("location_encoder.parts.onnx")
    path.write_bytes(location_encoder_in_parts().SerializeToString())
    inputs = tensors_in_parts(graph.inputs)
    return dataclasses.replace(graph, path=path, sha256=sha256_of(path), inputs=inputs, float64_as_parts=True)


@pytest.fixture
def bundle(tmp_path):
    return load_bundle(write_tiny_bundle(tmp_path))


def sizes(batch: int) -> dict[str, int]:
    return {"N": batch, "B": batch, "T": batch + 2}


@pytest.mark.parametrize("name", GRAPHS)
def test_outputs_have_the_names_of_the_contract_and_the_values_of_numpy(bundle, engine_name, device, name):
    graph = graph_for(bundle, engine_name, name)
    engine = open_engine(graph, engine_name, device)
    for batch in (1, 2, 5):
        inputs = example_inputs(bundle.graphs[name], sizes(batch))
        outputs = engine.run(inputs)
        expected = reference(name, inputs)
        assert list(outputs) == [tensor.name for tensor in graph.outputs]
        for tensor in graph.outputs:
            array = outputs[tensor.name]
            assert array.dtype == np.dtype(tensor.dtype) and array.shape == expected[tensor.name].shape
            np.testing.assert_allclose(array, expected[tensor.name], RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_same_input_gives_the_same_bytes(bundle, engine_name, device, name):
    graph = graph_for(bundle, engine_name, name)
    inputs = example_inputs(bundle.graphs[name], sizes(3))
    first = open_engine(graph, engine_name, device).run(inputs)
    second = open_engine(graph, engine_name, device).run(inputs)
    for key, array in first.items():
        assert array.tobytes() == second[key].tobytes()


def test_outputs_are_kept_when_the_engine_runs_again(bundle, engine_name, device):
    graph = bundle.graphs["tempgeo"]
    engine = open_engine(graph, engine_name, device)
    outputs = engine.run(example_inputs(graph, sizes(2)))
    before = {key: array.copy() for key, array in outputs.items()}
    engine.run(example_inputs(graph, sizes(2), seed=99))
    for key, array in outputs.items():
        np.testing.assert_array_equal(array, before[key])


def test_arrays_that_are_not_contiguous_are_understood(bundle, engine_name, device):
    graph = bundle.graphs["dual_encoder"]
    engine = open_engine(graph, engine_name, device)
    frames_rgb = example_inputs(graph, sizes(4))["frames_rgb"]
    mirrored = frames_rgb[::-1, :, ::-1]
    straight = engine.run({"frames_rgb": np.ascontiguousarray(mirrored)})
    np.testing.assert_array_equal(engine.run({"frames_rgb": mirrored})["frame_features"], straight["frame_features"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i.pop("location_embedding"), r"georefiner: expected the inputs \['refined_features', 'location_em"),
        (lambda i: i.update(extra=i["refined_features"]), r"georefiner: expected the inputs"),
        (
            lambda i: i.update(refined_features=i["refined_features"].astype(np.float64)),
            r"georefiner: input refined_features: expected dtype float32, got float64",
        ),
        (
            lambda i: i.update(refined_features=i["refined_features"][0]),
            r"georefiner: input refined_features: expected shape \(B, T, 6\), got \(4, 6\)",
        ),
        (
            lambda i: i.update(refined_features=i["refined_features"][..., :5]),
            r"refined_features: expected shape \(B, T, 6\), got \(2, 4, 5\)",
        ),
        (
            lambda i: i.update(location_embedding=i["location_embedding"][:, :3]),
            r"location_embedding: expected shape \(B, T, 4\) with T = 4, got \(2, 3, 4\)",
        ),
        (
            lambda i: i.update({key: array[:0] for key, array in i.items()}),
            r"refined_features: expected shape \(B, T, 6\), got \(0, 4, 6\)",
        ),
        (lambda i: i.update(refined_features=[[1.0]]), r"refined_features: expected a numpy array, got list"),
    ],
)
def test_an_input_that_does_not_fit_is_named(bundle, engine_name, device, change, message):
    graph = bundle.graphs["georefiner"]
    inputs = example_inputs(graph, sizes(2))
    change(inputs)
    with pytest.raises(ModelError, match=message):
        open_engine(graph, engine_name, device).run(inputs)


def test_a_result_that_is_not_finite_is_an_error(bundle, engine_name, device):
    graph = bundle.graphs["tempgeo"]
    inputs = example_inputs(graph, sizes(2))
    # With the signs of one column of weights every product adds up, past the largest float32.
    inputs["frame_features"][0, 0] = 3e38 * np.sign(weights()["time"][:, 4])
    with pytest.raises(ModelError, match=r"tempgeo: output refined_features: \d+ of \d+ values are not finite"):
        open_engine(graph, engine_name, device).run(inputs)


def test_the_description_says_what_runs_and_fits_into_a_report(bundle, engine_name, device):
    graph = bundle.graphs["tempgeo"]
    described = open_engine(graph, engine_name, device, threads=1).describe()
    assert described["engine"] == engine_name
    assert described["device"] == device
    assert described["graph_sha256"] == graph.sha256
    assert described["threads"] == 1
    assert described["version"]
    json.dumps(described, allow_nan=False)


def test_a_damaged_graph_is_an_error_that_names_the_file(bundle, engine_name, device):
    graph = bundle.graphs["tempgeo"]
    graph.path.write_bytes(graph.path.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"tempgeo\.onnx"):
        open_engine(graph, engine_name, device)


def test_a_graph_without_the_tensors_of_its_contract_is_refused(bundle, engine_name, device):
    graph = bundle.graphs["tempgeo"]
    graph.path.write_bytes(bundle.graphs["georefiner"].path.read_bytes())
    with pytest.raises(ModelError, match=r"tempgeo\.onnx: the inputs .*location_embedding.*but the bundle promises"):
        open_engine(graph, engine_name, device)
