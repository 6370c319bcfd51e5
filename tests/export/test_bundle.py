"""Bundles of random weights at true size, through the runtime's own loader and engine."""

import copy
import json

import numpy as np
import onnx
import pytest
import torch

import export.bundle
from export.bundle import export_bundle
from vidtag_cli.bundle.integrity import verify_bundle
from vidtag_cli.bundle.load import load_bundle
from vidtag_cli.engines.registry import open_engine
from vidtag_cli.errors import ModelError, OutputError

MAX_FLYOVER_BYTES = 25e6
GALLERY_BYTES = 250_000 * 16
"""The demo model's default gallery has 249,818 points; the bundle of these tests has fewer."""


def folder_bytes(bundle):
    return sum(path.stat().st_size for path in bundle.path.iterdir())


def test_the_bundle_says_what_it_is(flyover_export, flyover_config, flyover_model):
    bundle, _ = flyover_export
    assert (bundle.name, bundle.kind) == ("flyover", "vidtag")
    assert (bundle.feature_dim, bundle.embedding_dim) == (320, 256)
    assert bundle.preprocess.frame_size_px == 64
    assert bundle.location_encoder_kind == "sphere"
    assert bundle.logit_scale == pytest.approx(float(flyover_model.logit_scale().detach()))
    assert bundle.calibration.parameters == {"posterior_scale": 20.0}
    assert "nothing about street video" in bundle.domain
    assert bundle.contract.training.seed == flyover_config.seed
    assert bundle.contract.metrics == {"median_km": 75.0}
    assert bundle.gallery_latlon_deg().shape == (2000, 2)


def test_every_file_is_hashed_and_nothing_else_lies_there(flyover_export):
    bundle, _ = flyover_export
    assert verify_bundle(bundle.path).is_ok
    names = {path.name for path in bundle.path.iterdir()}
    assert names == {"bundle.json", *bundle.contract.files}
    assert {"parity.json", "domain.npz", "gallery_latlon.npy"} <= names
    assert [path.name for path in bundle.path.parent.iterdir()] == ["flyover.vidtag"]


def test_the_demo_bundle_is_small_enough(flyover_export):
    bundle, _ = flyover_export
    assert folder_bytes(bundle) + GALLERY_BYTES < MAX_FLYOVER_BYTES


def test_every_graph_gives_what_torch_gives(flyover_export):
    _, report = flyover_export
    assert not report.failures()
    for graph in ("dual_encoder", "tempgeo", "location_encoder", "georefiner"):
        results = [result for result in report.results if result.graph == graph]
        assert min(result.cosine_min for result in results) >= 0.99999
        assert max(result.moved_max_m for result in results) < 1.0
        assert sum(result.rows for result in results) > 5


def test_the_comparison_is_in_the_bundle(flyover_export):
    bundle, report = flyover_export
    document = json.loads(bundle.file("parity.json").read_text("utf-8"))
    assert document["passed"] is True
    assert document["stored_weights"] == "float16"
    assert len(document["results"]) == len(report.results)


@torch.no_grad()
def test_the_runtime_walks_the_whole_way(flyover_export, flyover_model):
    bundle, _ = flyover_export
    engines = {name: open_engine(graph, threads=1) for name, graph in bundle.graphs.items()}
    frames_rgb = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), dtype=np.uint8)
    features = engines["dual_encoder"].run({"frames_rgb": frames_rgb})["frame_features"]
    attended = engines["tempgeo"].run({"frame_features": features[None]})
    gallery = engines["location_encoder"].run({"latlon_deg": bundle.gallery_latlon_deg()})["location_embedding"]
    best = (attended["frame_embedding"][0] @ gallery.T).argmax(1)
    queries = {"refined_features": attended["refined_features"], "location_embedding": gallery[best][None]}
    refined = engines["georefiner"].run(queries)["refined_embedding"][0]
    model_attended, _ = flyover_model.embed_frames(flyover_model.dual_encoder(torch.from_numpy(frames_rgb))[None])
    places = flyover_model.location_encoder(torch.from_numpy(bundle.gallery_latlon_deg()[best]))
    wanted = flyover_model.georefiner(model_attended, places[None])[0]
    assert np.allclose(refined, wanted.numpy(), atol=1e-5)


def test_a_taken_name_needs_force(flyover_export, flyover_model, flyover_config, flyover_parts):
    bundle, _ = flyover_export
    with pytest.raises(OutputError, match="--force"):
        export_bundle(flyover_model, flyover_config, bundle.path, **flyover_parts)


def test_a_folder_must_be_called_a_bundle(flyover_model, flyover_config, flyover_parts, tmp_path):
    for name in ("flyover", "..vidtag", "fly over.vidtag"):
        with pytest.raises(OutputError, match="NAME.vidtag"):
            export_bundle(flyover_model, flyover_config, tmp_path / name, **flyover_parts)


def copy_graphs(bundle):
    """Return a stand-in for the export: the graphs that are there already."""

    def write(model, config, folder, store_weights):
        written = {}
        for name, graph in bundle.graphs.items():
            (folder / graph.path.name).write_bytes(graph.path.read_bytes())
            written[name] = (folder / graph.path.name,)
        return written

    return write


def test_graphs_of_another_model_leave_nothing_behind(
    flyover_export, flyover_model, flyover_config, flyover_parts, tmp_path, monkeypatch
):
    bundle, _ = flyover_export
    monkeypatch.setattr(export.bundle, "_write_graphs", copy_graphs(bundle))
    other = copy.deepcopy(flyover_model)
    with torch.no_grad():
        other.georefiner.embed_output.weight[:100] *= -1.0
    with pytest.raises(ModelError, match="georefiner.*does not give what torch gives"):
        export_bundle(other, flyover_config, tmp_path / "other.vidtag", **flyover_parts)
    assert list(tmp_path.iterdir()) == []


def test_force_replaces_the_whole_folder(
    flyover_export, flyover_model, flyover_config, flyover_parts, tmp_path, monkeypatch
):
    bundle, _ = flyover_export
    monkeypatch.setattr(export.bundle, "_write_graphs", copy_graphs(bundle))
    out = tmp_path / "second.vidtag"
    out.mkdir()
    (out / "stale.onnx").write_bytes(b"")
    made, _ = export_bundle(flyover_model, flyover_config, out, force=True, **flyover_parts)
    assert made.name == "second"
    assert not (out / "stale.onnx").exists()
    assert list(tmp_path.iterdir()) == [out]
    assert load_bundle(out).contract.graphs["tempgeo"].sha256 == bundle.contract.graphs["tempgeo"].sha256


@pytest.mark.slow
def test_the_paper_at_its_true_widths(paper_export):
    made, report = paper_export
    assert not report.failures()
    assert (made.feature_dim, made.embedding_dim, made.preprocess.frame_size_px) == (1792, 512, 224)
    operators = [node.op_type for node in onnx.load(made.graphs["dual_encoder"].path).graph.node]
    assert "Resize" not in operators  # DINOv2's positions of 518 pixels are interpolated to 224 before
    assert operators.count("Attention") == 2


@pytest.mark.slow
def test_pictures_of_the_papers_size_need_not_be_in_pairs(paper_export):
    made, _ = paper_export
    engine = open_engine(made.graphs["dual_encoder"], threads=1)
    frames_rgb = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    together = engine.run({"frames_rgb": frames_rgb})["frame_features"]
    alone = np.concatenate([engine.run({"frames_rgb": frame[None]})["frame_features"] for frame in frames_rgb])
    assert np.allclose(together, alone, atol=1e-6)
