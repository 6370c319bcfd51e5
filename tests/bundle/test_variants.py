"""Other files of the same graph: chosen by precision and engine, checked like the first."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_bundle import write_tiny_bundle

from vidtag_cli.bundle import load_bundle, verify_bundle
from vidtag_cli.bundle.bundle_json import read_bundle_json, write_bundle_json
from vidtag_cli.bundle.contract import BUNDLE_JSON, GraphVariant
from vidtag_cli.bundle.float_parts import parts_of
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.engines.opening import open_engine
from vidtag_cli.errors import ModelError


@pytest.fixture
def plain_dir(tmp_path):
    return write_tiny_bundle(tmp_path)


@pytest.fixture
def bundle_dir(plain_dir):
    """Return a bundle whose TempGeo has a second file and whose location encoder has one without float64."""
    shutil.copy(plain_dir / "tempgeo.onnx", plain_dir / "tempgeo.fp16.onnx")
    onnx.save(location_in_parts(plain_dir), plain_dir / "location_encoder.parts.onnx")
    add_variant(plain_dir, "tempgeo", "tempgeo.fp16.onnx", "fp16")
    add_variant(plain_dir, "location_encoder", "location_encoder.parts.onnx", "fp32", float64_as_parts=True)
    return plain_dir


def location_in_parts(bundle_dir):
    """Return the tiny location encoder with its input as the sum of two float32."""
    model = onnx.load(bundle_dir / "location_encoder.onnx")
    weight = numpy_helper.to_array(model.graph.initializer[0])
    shape = [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    names = ("latlon_deg_high", "latlon_deg_low")
    nodes = [
        helper.make_node("Add", names, ["latlon"]),
        helper.make_node("MatMul", ["latlon", "place"], ["located"]),
        helper.make_node("LpNormalization", ["located"], ["location_embedding"], axis=-1, p=2),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names]
    graph = helper.make_graph(nodes, "parts", inputs, model.graph.output, [numpy_helper.from_array(weight, "place")])
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def add_variant(bundle_dir, name, file, precision, **options):
    contract = read_bundle_json(bundle_dir)
    variant = GraphVariant(file, sha256_of(bundle_dir / file), precision, **options)
    graph = contract.graphs[name]
    graphs = contract.graphs | {name: dataclasses.replace(graph, variants=(*graph.variants, variant))}
    write_bundle_json(bundle_dir, dataclasses.replace(contract, graphs=graphs))


def test_a_precision_takes_its_files_and_leaves_the_rest(bundle_dir):
    bundle = load_bundle(bundle_dir)
    own = bundle.precisions()[0]
    assert set(bundle.precisions()) == {own, "fp16"}
    assert bundle.graphs_for() == bundle.graphs_for(own) == bundle.graphs
    half = bundle.graphs_for("fp16")
    assert half["tempgeo"].path.name == "tempgeo.fp16.onnx" and half["tempgeo"].precision == "fp16"
    assert {name: half[name] for name in half if name != "tempgeo"} == {
        name: graph for name, graph in bundle.graphs.items() if name != "tempgeo"
    }


def test_an_engine_without_float64_gets_parts(bundle_dir):
    for precision in ("fp16", None):
        graph = load_bundle(bundle_dir).graphs_for(precision, has_float64=False)["location_encoder"]
        assert graph.float64_as_parts
        assert [(tensor.name, tensor.dtype) for tensor in graph.inputs] == [
            ("latlon_deg_high", "float32"),
            ("latlon_deg_low", "float32"),
        ]


def test_parts_are_fed_and_give_the_same(bundle_dir):
    bundle = load_bundle(bundle_dir)
    places = {"latlon_deg": np.array([[48.8584, 2.2945], [-17.0, 179.999_999]])}
    outputs = []
    for has_float64 in (True, False):
        graph = bundle.graphs_for(has_float64=has_float64)["location_encoder"]
        outputs.append(open_engine(graph, threads=1).run(graph.feed(places))["location_embedding"])
    np.testing.assert_allclose(*outputs, atol=1e-6)


def test_parts_hold_more_than_twice_the_digits():
    rng = np.random.default_rng(0)
    values = rng.uniform(-180.0, 180.0, (1000, 2))
    parts = parts_of({"latlon_deg": values, "other": values.astype(np.float32)})
    assert {name: array.dtype.name for name, array in parts.items()} == {
        "latlon_deg_high": "float32",
        "latlon_deg_low": "float32",
        "other": "float32",
    }
    back = parts["latlon_deg_high"].astype(np.float64) + parts["latlon_deg_low"]
    assert np.abs(back - values).max() < 1e-12  # a ten-millionth of a metre


def test_what_is_not_there_is_named(bundle_dir, tmp_path):
    with pytest.raises(ModelError, match="no graphs in int4, only in .*fp16"):
        load_bundle(bundle_dir).graphs_for("int4")
    (tmp_path / "plain").mkdir()
    plain = load_bundle(write_tiny_bundle(tmp_path / "plain"))
    assert len(plain.precisions()) == 1
    with pytest.raises(ModelError, match="location_encoder computes in float64"):
        plain.graphs_for(has_float64=False)


def test_a_bundle_without_variants_is_written_as_before(plain_dir):
    write_bundle_json(plain_dir, read_bundle_json(plain_dir))
    assert "variants" not in (plain_dir / BUNDLE_JSON).read_text("utf-8")


def test_variants_are_written_and_read_back(bundle_dir):
    content = json.loads((bundle_dir / BUNDLE_JSON).read_text("utf-8"))
    (variant,) = content["graphs"]["tempgeo"]["variants"]
    assert set(variant) == {"file", "sha256", "precision"}
    assert content["graphs"]["location_encoder"]["variants"][0]["float64_as_parts"] is True


def test_a_changed_variant_is_found(bundle_dir):
    with (bundle_dir / "tempgeo.fp16.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match=r"tempgeo\.fp16\.onnx: changed"):
        load_bundle(bundle_dir)
    assert not verify_bundle(bundle_dir).is_ok


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "0" * 63}, r"graphs\.tempgeo\.variants\[0\]\.sha256: .* not a SHA-256"),
        ({"file": "tempgeo.ort"}, r"graphs\.tempgeo\.variants\[0\]\.file: .* not an \.onnx file"),
        ({"stride": 1}, r"graphs\.tempgeo\.variants\[0\]\.stride: unknown key"),
        ({"file": "../outside.onnx"}, r"outside"),
    ],
)
def test_a_wrong_variant_is_named_by_its_path(bundle_dir, change, message):
    path = bundle_dir / BUNDLE_JSON
    content = json.loads(path.read_text())
    content["graphs"]["tempgeo"]["variants"][0].update(change)
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=message):
        load_bundle(bundle_dir)


def test_external_weights_of_a_variant_must_be_listed(bundle_dir):
    path = bundle_dir / "tempgeo.fp16.onnx"
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="half.data", size_threshold=0)
    contract = read_bundle_json(bundle_dir)
    graph = contract.graphs["tempgeo"]
    variant = dataclasses.replace(graph.variants[0], sha256=sha256_of(path))
    graphs = contract.graphs | {"tempgeo": dataclasses.replace(graph, variants=(variant,))}
    write_bundle_json(bundle_dir, dataclasses.replace(contract, graphs=graphs))
    with pytest.raises(ModelError, match=r"half\.data: unlisted: tempgeo\.fp16\.onnx reads its weights"):
        load_bundle(bundle_dir)
