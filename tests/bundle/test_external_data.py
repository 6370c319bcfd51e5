from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_bundle import graph_model

from vidtag_cli.bundle.external_data import external_data_locations
from vidtag_cli.errors import ModelError


def external_tensor(name, location):
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=location)
    return tensor


def save(tmp_path, nodes, initializers=(), functions=()):
    graph = helper.make_graph(nodes, "g", [], [], list(initializers))
    model = helper.make_model(graph, functions=list(functions))
    path = tmp_path / "g.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_a_graph_with_its_weights_inside_has_none(tmp_path):
    path = tmp_path / "g.onnx"
    path.write_bytes(graph_model("dual_encoder").SerializeToString())
    assert external_data_locations(path) == ()


def test_what_onnx_itself_writes_is_found(tmp_path):
    path = tmp_path / "g.onnx"
    model = graph_model("tempgeo")
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").exists()
    assert external_data_locations(path) == ("weights.bin",)


def test_every_place_that_can_hold_a_tensor_is_searched(tmp_path):
    constant = helper.make_node("Constant", [], ["c"], value=external_tensor("t", "constant.bin"))
    branch = helper.make_graph([constant], "b", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, [2])])
    condition = helper.make_node("If", ["q"], ["r"], then_branch=branch, else_branch=branch)
    in_function = helper.make_node("Constant", [], ["d"], value=external_tensor("t", "function.bin"))
    function = helper.make_function("own", "F", [], ["d"], [in_function], [helper.make_opsetid("", 20)])
    sparse = onnx.SparseTensorProto(values=external_tensor("s", "sparse.bin"))
    sparse_node = helper.make_node("Constant", [], ["s"], sparse_value=sparse)
    path = save(tmp_path, [condition, sparse_node], [external_tensor("w", "../../etc/passwd")], [function])
    assert external_data_locations(path) == ("../../etc/passwd", "constant.bin", "function.bin", "sparse.bin")


def test_large_inner_weights_are_skipped_not_parsed(tmp_path):
    # Bytes that would be read as fields if the raw data were looked into.
    raw = numpy_helper.from_array(np.full(100_000, 0x6A6A6A6A, dtype=np.int32), "w")
    path = save(tmp_path, [], [raw, external_tensor("v", "v.bin")])
    assert external_data_locations(path) == ("v.bin",)


@pytest.mark.parametrize(
    "content", [b"", b"not a graph at all", b"\x3a\xff\xff\xff\x0f", b"\x3a", b"\x0b\x0c", b"\x09\x01"]
)
def test_other_bytes_are_refused(tmp_path, content):
    path = tmp_path / "g.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="no.* ONNX graph"):
        external_data_locations(path)
