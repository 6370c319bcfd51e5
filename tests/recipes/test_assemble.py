"""Weights go where the graphs look for them: the made bundle gives what the graphs with their weights inside give."""

import json

import numpy as np
import onnxruntime
import pytest
from tiny_bundle import FRAME_SIZE_PX, graph_model
from tiny_recipe import safetensors_bytes, write_published, write_tiny_recipe

from vidtag_cli.bundle.load import load_bundle
from vidtag_cli.errors import ModelError, UsageError
from vidtag_cli.recipes.assemble import SourceFiles, assemble_bundle, read_places, stored_values
from vidtag_cli.recipes.recipe import StoredTensor, load_recipe
from vidtag_cli.recipes.sources import find_sources, unpack


def made(folder):
    published = write_published(folder / "web")
    loaded = load_recipe(str(write_tiny_recipe(folder / "recipe", published)))
    (folder / "work").mkdir()
    files = SourceFiles(unpack(find_sources(loaded.recipe, [folder / "web"], None), folder / "work"))
    out = folder / "tinyclip.vidtag"
    out.mkdir()
    assemble_bundle(loaded, files, out, "fp32", "a test", lambda _: None)
    return loaded, files, load_bundle(out)


def test_the_made_bundle_is_the_model(tmp_path):
    _, _, bundle = made(tmp_path)
    frames = np.random.default_rng(0).integers(0, 256, (3, FRAME_SIZE_PX, FRAME_SIZE_PX, 3)).astype(np.uint8)
    inputs = {"image_encoder": {"frames_rgb": frames}, "location_encoder": {"latlon_deg": np.array([[50.0, 8.0]])}}
    for name, given in inputs.items():
        whole = onnxruntime.InferenceSession(graph_model(name).SerializeToString()).run(None, given)[0]
        filled = onnxruntime.InferenceSession(str(bundle.graphs[name].path)).run(None, given)[0]
        np.testing.assert_array_equal(filled, whole)
    assert bundle.gallery_latlon_deg().tolist() == [[50.0, 8.0], [-30.0, 150.0], [10.5, -70.25]]
    assert bundle.contract.created_with.endswith("from a test") and not bundle.contract.calibration.is_measured


def values_of(tmp_path, tensors, **stored):
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors_bytes(tensors))
    return stored_values(StoredTensor(0, **stored), SourceFiles({"w": path}))


def test_parts_are_joined_then_turned_then_cast(tmp_path):
    first, second = np.arange(6.0).reshape(2, 3).astype(np.float32), np.ones((1, 3), np.float32)
    tensors = {"a": first, "b": second}
    found = values_of(tmp_path, tensors, shape=(3, 3), dtype="float16", parts=("w:a", "w:b"), transposed=True)
    np.testing.assert_array_equal(found, np.concatenate([first, second]).T.astype(np.float16))


def test_integers_times_their_scale_are_the_weight_to_half_a_step(tmp_path):
    weight = np.random.default_rng(1).normal(size=(50, 7)).astype(np.float32)
    weight[:, 3] = 0.0
    integers, scale = (
        values_of(tmp_path, {"a": weight}, shape=shape, dtype=dtype, parts=("w:a",), form=form)
        for shape, dtype, form in (((50, 7), "int8", "int8"), ((7,), "float32", "int8 scale"))
    )
    assert integers.dtype == np.int8 and np.abs(integers).max() == 127 and (integers[:, 3] == 0).all()
    assert (np.abs(integers * scale - weight) <= 0.5001 * scale).all()


@pytest.mark.parametrize(
    ("tensor", "stored", "words"),
    [
        (np.ones((2, 3), np.float32), {"shape": (7,), "dtype": "float32"}, "is not"),
        (np.float32([1e9]), {"shape": (1,), "dtype": "float16"}, "too large for float16"),
        (np.float32([np.nan]), {"shape": (1,), "dtype": "float32"}, "no number"),
        (np.int64([3]), {"shape": (1,), "dtype": "float32"}, "not the numbers of a weight"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, tensor, stored, words):
    with pytest.raises(ModelError, match=f"w:a.*{words}"):
        values_of(tmp_path, {"a": tensor}, parts=("w:a",), **stored)


def test_a_missing_tensor_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"w\.safetensors: it has no tensor 'b'"):
        values_of(tmp_path, {"a": np.ones(1, np.float32)}, shape=(1,), dtype="float32", parts=("w:b",))


@pytest.mark.parametrize(
    "text", ["", "lat,lon\n1,2\n", "LAT,LON\n", "LAT,LON\n91,0\n", "LAT,LON\n1\n", "LAT,LON\nnan,0\n"]
)
def test_a_table_that_holds_no_places_is_refused(tmp_path, text):
    path = tmp_path / "places.csv"
    path.write_text(text)
    with pytest.raises(ModelError, match=r"places\.csv: no table of places"):
        read_places(path)


def members(document):
    return document["sources"]["wheel"]["members"]


def changed(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return str(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(schema="vidtag-recipe/9"), "schema"),
        (lambda d: d["sources"].update({"../up": d["sources"]["clip"]}), "no plain file name"),
        (lambda d: members(d).update({"../up": members(d)["places"]}), "no plain file name"),
        (lambda d: d["sources"]["clip"].update(url="file:///etc/passwd"), "no address of the web"),
        (lambda d: d["sources"]["clip"].update(sha256="00"), "no SHA-256"),
        (lambda d: d["weights"]["image_encoder.weights"].update(bytes=3), "too few"),
        (lambda d: d["weights"]["image_encoder.weights"]["tensors"][1].update(offset=4), "overlaps"),
        (lambda d: d["weights"]["image_encoder.weights"]["tensors"][0].update(parts=["elsewhere:a"]), "no file"),
        (lambda d: d["precisions"]["fp32"][0].update(file="../x.onnx"), "no plain file name"),
        (lambda d: d["precisions"]["fp32"].pop(), "one graph each"),
        (
            lambda d: d["sources"]["wheel"]["members"].update({"../up": d["sources"]["wheel"]["members"]["places"]}),
            "up",
        ),
        (lambda d: d["gallery"].update(table="nothing"), "no file of the sources"),
        (lambda d: d["precisions"]["fp32"][0].update(sha256="0" * 64), "not the graph"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(tmp_path, change, words):
    path = write_tiny_recipe(tmp_path / "recipe", write_published(tmp_path / "web"))
    load_recipe(str(path))
    with pytest.raises(ModelError, match=words):
        load_recipe(changed(path, change))


def test_a_name_there_is_not_is_answered_with_those_there_are():
    with pytest.raises(UsageError, match=r"nosuch: no model of this name can be got.*geoclip"):
        load_recipe("nosuch")
