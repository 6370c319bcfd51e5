"""ONNX files: the contract's names and shapes, no trace of the machine that made them, halves that cost nothing."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export.graphs import onnx_files
from export.graphs.graphs import LocationEncoderGraph, exported_graph, graph_sizes
from export.graphs.onnx_files import OPSET, export_onnx
from training.model.location_encoder import LocationEncoder
from training.model.vidtag import build_location_encoder
from vidtag_cli.bundle.contract import GRAPH_TENSORS, GRAPHS_OF_KIND, fixed_shape
from vidtag_cli.bundle.external_data import external_data_locations
from vidtag_cli.errors import ModelError

DTYPES = {onnx.TensorProto.UINT8: "uint8", onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.DOUBLE: "float64"}

PLACES = np.array([[48.8584, 2.2945], [-17.0, 180.0], [90.0, 0.0]])

HALF_AND_A_BIT = 0.56
"""Half the weights, and what is no weight: vectors, frequencies, the graph itself."""


@pytest.fixture(scope="module")
def locations(flyover_model, frame_size_px):
    return exported_graph(flyover_model, "location_encoder", frame_size_px), graph_sizes(flyover_model, frame_size_px)


@pytest.fixture(scope="module")
def both_ways(locations, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    paths = {}
    for stored in ("float32", "float16"):
        paths[stored] = folder / f"{stored}.onnx"
        assert export_locations(locations, paths[stored], stored) == (paths[stored],)
    return paths


def export_locations(locations, path, store_weights):
    graph, sizes = locations
    return export_onnx("location_encoder", graph, path, sizes, store_weights)


def tensors(values):
    for value in values:
        kind = value.type.tensor_type
        shape = tuple(d.dim_param or d.dim_value for d in kind.shape.dim)
        yield value.name, DTYPES[kind.elem_type], shape


@pytest.mark.parametrize("name", GRAPHS_OF_KIND["vidtag"])
def test_files_keep_the_contract(flyover_export, name):
    bundle, _ = flyover_export
    model = onnx.load(bundle.graphs[name].path)
    sizes = bundle.contract.fixed_dimensions()
    for found, wanted in zip((model.graph.input, model.graph.output), GRAPH_TENSORS[name], strict=True):
        assert list(tensors(found)) == [(t.name, t.dtype, fixed_shape(t.shape, sizes)) for t in wanted]
    assert [(entry.domain, entry.version) for entry in model.opset_import if not entry.domain] == [("", OPSET)]


@pytest.mark.parametrize("name", GRAPHS_OF_KIND["vidtag"])
def test_files_do_not_say_where_they_were_made(flyover_export, name):
    bundle, _ = flyover_export
    content = bundle.graphs[name].path.read_bytes()
    for trace in (b"stack_trace", b"site-packages", b".py", str(onnx_files.__file__).encode()):
        assert trace not in content


def test_no_picture_is_resized_and_no_statistics_are_applied_in_the_graph(flyover_export):
    bundle, _ = flyover_export
    for graph in bundle.graphs.values():
        operators = {node.op_type for node in onnx.load(graph.path).graph.node}
        assert not operators & {"Resize", "BatchNormalization", "Dropout", "If", "Loop"}


def test_halves_take_half_the_space(both_ways):
    assert both_ways["float16"].stat().st_size < HALF_AND_A_BIT * both_ways["float32"].stat().st_size


def test_halves_give_the_same_bits(both_ways):
    places = {"latlon_deg": PLACES}
    outputs = [
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, places)[0]
        for path in both_ways.values()
    ]
    assert np.array_equal(*outputs)


def test_the_engine_folds_every_cast_away(both_ways, tmp_path):
    operators = []
    for stored, path in both_ways.items():
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / f"{stored}.onnx")
        options.log_severity_level = 3
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        operators.append(Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node))
    assert operators[0] == operators[1]


def test_frequencies_are_never_halved(both_ways, flyover_config):
    tensors = onnx.load(both_ways["float16"]).graph.initializer
    assert any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in tensors)
    shape = [3, flyover_config.model.location.frequencies]
    frequencies = [tensor for tensor in tensors if sorted(tensor.dims) == shape]
    # As exact as the positions they multiply, which are float64.
    assert [tensor.data_type for tensor in frequencies] == [onnx.TensorProto.DOUBLE] * 3


def test_weights_off_the_grid_are_refused(flyover_config, tmp_path):
    torch.manual_seed(0)
    graph = LocationEncoderGraph(build_location_encoder(flyover_config.model))
    with pytest.raises(ModelError, match="round_weights_"):
        export_onnx("location_encoder", graph, tmp_path / "a.onnx", {"E": 256}, "float16")
    assert not (tmp_path / "a.onnx").exists()


def test_the_same_model_gives_the_same_file(locations, both_ways, tmp_path):
    export_locations(locations, tmp_path / "again.onnx", "float16")
    assert (tmp_path / "again.onnx").read_bytes() == both_ways["float16"].read_bytes()


def test_large_weights_go_into_a_file_beside_each_tensor_at_a_page_and_can_be_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_files, "EXTERNAL_DATA_BYTES", 1000)
    torch.manual_seed(0)
    encoder = LocationEncoder(kind="sphere", sigmas=(1.0, 8.0), hidden=1024, embed_dim=64)
    path = tmp_path / "location_encoder.onnx"
    written = export_onnx("location_encoder", LocationEncoderGraph(encoder), path, {"E": 64})
    assert written == (path, tmp_path / "location_encoder.onnx.data")
    assert external_data_locations(path) == ("location_encoder.onnx.data",)
    assert path.stat().st_size < 0.1 * written[1].stat().st_size
    weights = onnx.load(path, load_external_data=False).graph.initializer
    fields = [{entry.key: entry.value for entry in tensor.external_data} for tensor in weights]
    large = [int(field["offset"]) for field in fields if int(field.get("length", 0)) > 1 << 20]
    assert len(large) >= 4  # two layers of 1024 x 1024 in each branch
    assert all(offset % onnx_files.MAPPED_ALIGNMENT_BYTES == 0 for offset in large)
    found = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"latlon_deg": PLACES})
    with torch.no_grad():
        assert np.allclose(found[0], encoder(torch.from_numpy(PLACES)).numpy(), atol=1e-6)


def test_the_fused_attention_of_torch_is_on_again_afterwards(both_ways):
    assert torch.backends.mha.get_fastpath_enabled()
