"""Graphs without weights, filled on the user's machine, are those that export writes with the weights inside.

One narrow layer instead of 24 wide ones: all are alike, and each export takes seconds. The recipe that ships is of the
true shape.
"""

import numpy as np
import onnx
import onnxruntime
from safetensors.torch import save_file

from export.geoclip.bundle import _write_graphs
from export.geoclip.release import read_release, release_folder
from export.geoclip.skeletons import (
    CLIP_SOURCE,
    MIN_COSINE,
    WHEEL_FILES,
    build_tower,
    published_shapes,
    random_clip,
    write_skeletons,
)
from export.geoclip.tower import VIT_L14, ClipTower
from vidtag_cli.bundle.load import load_bundle
from vidtag_cli.recipes.assemble import SourceFiles, assemble_bundle
from vidtag_cli.recipes.recipe import load_recipe

SHAPE = {"image_size": 56, "patch_size": 14, "width": 128, "layers": 1}


def export_with_weights(folder, clip):
    tower = ClipTower(build_tower(clip, SHAPE), SHAPE["image_size"], "random")
    return {
        (file.graph, file.precision, file.float64_as_parts): file.paths[0]
        for file in _write_graphs(tower, read_release(), folder, ("fp32", "fp16"))
    }


def fill(folder, recipe, clip, precision):
    save_file(clip, str(folder / "model.safetensors"))
    files = {name: release_folder() / path for name, path in WHEEL_FILES.items()}
    out = folder / f"{precision}.vidtag"
    out.mkdir()
    sources = SourceFiles(files | {"clip": folder / "model.safetensors"})
    assemble_bundle(recipe, sources, out, precision, "a test", lambda _: None)
    return load_bundle(out)


def run(path, **inputs):
    return onnxruntime.InferenceSession(str(path)).run(None, inputs)[0]


FRAMES = np.random.default_rng(0).integers(0, 256, (3, 56, 56, 3)).astype(np.uint8)
LATLON_DEG = np.random.default_rng(1).uniform((-90, -180), (90, 180), (40, 2))


def test_filled_skeletons_are_the_exported_graphs(tmp_path):
    """One test for all: the exports that it compares take a minute, and each process would make its own."""
    write_skeletons(tmp_path / "geoclip", SHAPE)
    recipe, clip = load_recipe(str(tmp_path / "geoclip")), random_clip(SHAPE, seed=5)
    (tmp_path / "exported").mkdir()
    exported = export_with_weights(tmp_path / "exported", clip)
    for precision in ("fp32", "fp16"):
        check_to_the_last_bit(fill(tmp_path, recipe, clip, precision), exported, precision)
    eight_bits = run(fill(tmp_path, recipe, clip, "int8").graphs["image_encoder"].path, frames_rgb=FRAMES)
    expected = run(exported["image_encoder", "fp32", False], frames_rgb=FRAMES)
    assert (eight_bits * expected).sum(-1).min() >= MIN_COSINE and not np.array_equal(eight_bits, expected)
    release, bundle = read_release(), load_bundle(tmp_path / "fp32.vidtag")
    np.testing.assert_array_equal(bundle.gallery_latlon_deg(), release.gallery_latlon_deg)
    assert bundle.contract.logit_scale == release.logit_scale
    check_packaged(recipe)


def check_to_the_last_bit(bundle, exported, precision):
    image = bundle.graphs_for(precision)["image_encoder"].path
    np.testing.assert_array_equal(
        run(image, frames_rgb=FRAMES), run(exported["image_encoder", precision, False], frames_rgb=FRAMES)
    )
    place = bundle.graphs_for(precision)["location_encoder"].path
    np.testing.assert_array_equal(
        run(place, latlon_deg=LATLON_DEG), run(exported["location_encoder", "fp32", False], latlon_deg=LATLON_DEG)
    )
    parts = bundle.graphs_for(precision, has_float64=False)["location_encoder"].path
    high = LATLON_DEG.astype(np.float32)
    halves = {"latlon_deg_high": high, "latlon_deg_low": (LATLON_DEG - high).astype(np.float32)}
    np.testing.assert_array_equal(run(parts, **halves), run(exported["location_encoder", "fp32", True], **halves))


def operators(path):
    return [(node.op_type, len(node.input)) for node in onnx.load(path, load_external_data=False).graph.node]


def check_packaged(recipe):
    """The skeletons that ship are of today: all layers have the same operators, so the small graphs tell."""
    packaged = load_recipe("geoclip")
    for precision, graphs in packaged.recipe.precisions.items():
        for large, small in zip(graphs, recipe.recipe.precisions[precision], strict=True):
            of_large, of_small = (
                operators(loaded.folder / graph.skeleton) for loaded, graph in ((packaged, large), (recipe, small))
            )
            assert set(of_large) == set(of_small), large.file
            if large.graph == "location_encoder":
                assert of_large == of_small
    assert packaged.recipe.sources["geoclip"] == recipe.recipe.sources["geoclip"]
    assert packaged.recipe.sources["clip"] == CLIP_SOURCE
    tables = packaged.recipe.weights.values()
    parts = {part for table in tables for stored in table.tensors for part in stored.parts}
    assert {part.removeprefix("clip:") for part in parts if part.startswith("clip:")} == set(published_shapes(VIT_L14))
