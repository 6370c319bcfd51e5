"""The command for models of any size, on the paper's architecture with few layers in each backbone."""

import json
import re

import numpy as np
import onnx
import pytest
import typer
from shared_results import made_once
from typer.testing import CliRunner

from export.checkpoint import RANDOM_MODELS, random_config, random_run, read_checkpoint
from export.full_size import onnx as export_command
from vidtag_cli.bundle.external_data import external_data_locations
from vidtag_cli.bundle.load import load_bundle
from vidtag_cli.engines.opening import open_engine
from vidtag_cli.errors import InputError
from vidtag_cli.geo.nearest import nearest_neighbour

MAX_MEMORY_GB = 12.0
SAME_ALONE = 1e-6
"""One frame alone and among others: the sums of a matrix product may be split otherwise."""


LAYERS = 2
"""Of each backbone here: enough for weights of more than 64 MB in half precision, and half the minutes of 4."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the bundle and what the command printed."""
    app = typer.Typer()
    app.command()(export_command)

    def export(folder):
        arguments = ["random:paper4:3", "--out", str(folder / "paper.vidtag"), "--parity-frames", "4"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(RANDOM_MODELS, "paper4", LAYERS)
            return CliRunner().invoke(app, arguments, catch_exceptions=False).output

    folder, output = made_once(tmp_path_factory, "paper-export", str, export)
    return load_bundle(folder / "paper.vidtag"), output


@pytest.mark.slow
def test_the_paper_at_its_true_widths_in_both_precisions(made):
    bundle, printed = made
    assert (bundle.feature_dim, bundle.embedding_dim, bundle.preprocess.frame_size_px) == (1792, 512, 224)
    assert bundle.precisions() == ("fp32", "fp16")
    document = json.loads(bundle.file("parity.json").read_text("utf-8"))
    half = document["other_precisions"][0]
    assert document["passed"] and half["passed"]
    assert min(result["cosine_min"] for result in document["results"]) >= 0.99999
    assert min(result["cosine_min"] for result in half["results"]) >= 0.999
    assert half["place_shift"]["places"] == 2000
    memory = re.search(r"(\d+) s, ([\d.]+) GB of memory at most", printed)
    assert float(memory[2]) < MAX_MEMORY_GB


@pytest.mark.slow
def test_large_weights_lie_beside_their_graph(made):
    bundle, _ = made
    for precision in bundle.precisions():
        path = bundle.graphs_for(precision)["dual_encoder"].path
        assert external_data_locations(path) == (f"{path.name}.data",)
        assert path.stat().st_size < 2e6


@pytest.mark.slow
def test_positions_are_baked_and_attention_has_the_form_that_engines_take(made):
    bundle, _ = made
    layers = 2 * LAYERS
    for precision, attention, softmax in (("fp32", 0, layers), ("fp16", layers, 0)):
        graph = onnx.load(bundle.graphs_for(precision)["dual_encoder"].path, load_external_data=False).graph
        operators = [node.op_type for node in graph.node]
        assert "Resize" not in operators  # DINOv2's positions of 518 pixels are interpolated to 224 before
        assert (operators.count("Attention"), operators.count("Softmax")) == (attention, softmax)


@pytest.mark.slow
def test_pictures_need_not_be_in_pairs(made):
    bundle, _ = made
    engine = open_engine(bundle.graphs["dual_encoder"], threads=1)
    frames_rgb = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    together = engine.run({"frames_rgb": frames_rgb})["frame_features"]
    alone = np.concatenate([engine.run({"frames_rgb": frame[None]})["frame_features"] for frame in frames_rgb])
    assert np.allclose(together, alone, atol=SAME_ALONE)


def test_random_models_are_the_papers_and_cut_only_in_depth():
    paper, cut = (random_config(name).model for name in ("paper", "paper4"))
    assert (paper.clip.layers, paper.dino.layers) == (24, 24)
    assert (cut.clip.layers, cut.dino.layers) == (4, 4)
    assert (cut.feature_dim, cut.embed_dim, cut.frame_size_px) == (paper.feature_dim, 512, 224)


@pytest.mark.parametrize(
    "source", ["random:", "random:flyover", "random:paper:", "random:paper:x", "random:paper4:1:2"]
)
def test_other_random_names_are_refused(source):
    with pytest.raises(InputError, match="random:paper, random:paper4"):
        read_checkpoint(source)


def test_a_run_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"weights\.safetensors"):
        read_checkpoint(str(tmp_path))


def test_the_gallery_of_a_random_model_is_a_grid_of_100_m(monkeypatch):
    monkeypatch.setattr("export.checkpoint._random_model", lambda config: None)
    run = random_run("paper4", 5)
    assert run.config.seed == 5
    assert run.gallery_latlon_deg.shape == (2000, 2)
    apart_km = [nearest_neighbour(run.gallery_latlon_deg[[i]], np.delete(run.gallery_latlon_deg, i, 0))[0][0]
                for i in (0, 777, 1999)]  # fmt: skip
    assert apart_km == pytest.approx([0.1] * 3, rel=0.05)
    assert not run.calibration.is_measured
