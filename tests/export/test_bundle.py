"""Bundles of random weights at true size, through the runtime's own loader and engine."""

import copy
import dataclasses
import json

import numpy as np
import onnx
import pytest
import torch

import export.bundle
from export.bundle import TrainedModel, read_about, write_bundle
from export.graphs.graph_files import GraphFile
from export.graphs.graphs import exported_graph
from export.parity.bundle import bundle_parity
from export.parity.cases import edge_cases
from export.parity.reference import parity_reference
from export.parity.report import check_parity
from vidtag_cli.bundle.contract import GRAPH_TENSORS
from vidtag_cli.bundle.integrity import verify_bundle
from vidtag_cli.engines.opening import open_engine
from vidtag_cli.errors import ModelError, OutputError

MAX_FLYOVER_BYTES = 25e6
GALLERY_BYTES = 250_000 * 16
"""The demo model's default gallery has 249,818 points; the bundle of these tests has fewer."""


def test_the_bundle_says_what_it_is(flyover_export, flyover_config, flyover_model):
    bundle, _ = flyover_export
    sizes = flyover_config.model
    assert (bundle.name, bundle.kind) == ("flyover", "vidtag")
    assert (bundle.feature_dim, bundle.embedding_dim) == (sizes.feature_dim, sizes.embed_dim)
    assert bundle.preprocess.frame_size_px == sizes.frame_size_px
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
    shipped = [bundle.file(graph.path.name) for graph in bundle.graphs.values()]
    others = [bundle.file("domain.npz"), bundle.file("parity.json")]
    assert sum(path.stat().st_size for path in (*shipped, *others)) + GALLERY_BYTES < MAX_FLYOVER_BYTES


def test_every_graph_gives_what_torch_gives(flyover_export):
    _, (report, _) = flyover_export
    assert not report.failures()
    for graph in ("dual_encoder", "tempgeo", "location_encoder", "georefiner"):
        results = [result for result in report.results if result.graph == graph]
        assert min(result.cosine_min for result in results) >= 0.99999
        assert max(result.moved_max_m for result in results) < 1.0
        assert sum(result.rows for result in results) > 5


def test_the_comparisons_are_in_the_bundle(flyover_export):
    bundle, (own, half) = flyover_export
    document = json.loads(bundle.file("parity.json").read_text("utf-8"))
    assert document["passed"] is True
    assert document["stored_weights"] == "float16"
    assert len(document["results"]) == len(own.results)
    (other,) = document["other_precisions"]
    assert (other["precision"], other["passed"], len(other["results"])) == ("fp16", True, len(half.results))
    assert other["place_shift"]["places"] == 2000


def test_half_precision_is_another_arithmetic_and_near(flyover_export):
    bundle, (own, half) = flyover_export
    assert bundle.precisions() == ("fp32", "fp16")
    assert not half.failures()
    assert own.place_shift.cosine_min > half.place_shift.cosine_min >= 0.999
    for name in ("dual_encoder", "tempgeo", "georefiner"):
        lost = [max(1 - r.cosine_min for r in report.results if r.graph == name) for report in (own, half)]
        assert lost[1] > 10 * lost[0], name  # or the file was not in half precision at all


def test_the_location_encoder_is_one_island_and_has_a_form_without_float64(flyover_export):
    bundle, reports = flyover_export
    for precision in bundle.precisions():
        graphs = bundle.graphs_for(precision, has_float64=False)
        assert [tensor.dtype for tensor in graphs["location_encoder"].inputs] == ["float32", "float32"]
        assert bundle.graphs_for(precision)["location_encoder"] == bundle.graphs["location_encoder"]
    for report in reports:
        results = [result for result in report.results if result.graph == "location_encoder"]
        assert sum(result.case.endswith("parts") for result in results) * 2 == len(results)
        assert max(result.moved_max_m for result in results) < 1.0


def test_graphs_for_tensorrt_have_nothing_that_it_refuses(flyover_export):
    bundle, _ = flyover_export
    for precision in bundle.precisions():
        for name, graph in bundle.graphs_for(precision, has_float64=False).items():
            model = onnx.load(graph.path)
            kinds = {tensor.data_type for tensor in model.graph.initializer}
            assert onnx.TensorProto.DOUBLE not in kinds, name
            of_pixels = [node.op_type for node in model.graph.node if "frames_rgb" in node.input]
            # Bytes can only be turned into numbers, and asked for their shape.
            assert set(of_pixels) <= {"Cast", "Shape"}
            if precision == "fp32":
                assert "Attention" not in {node.op_type for node in model.graph.node}, name


def torch_runner(model, frame_size_px, precision):
    """Return a function that runs the graphs as they are exported, but in torch, with every rounding of half precision.

    ONNX Runtime's CPU widens float16 to float32 between operators: this shows what an engine that does not will lose.
    """

    @torch.no_grad()
    def run(name, inputs):
        graph = exported_graph(model, name, frame_size_px, precision)
        tensors, names = GRAPH_TENSORS[name]
        outputs = graph(*(torch.from_numpy(inputs[tensor.name]) for tensor in tensors))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return {tensor.name: value.numpy() for tensor, value in zip(names, outputs, strict=True)}

    return run


def test_half_precision_in_torch_is_within_its_limits(flyover_export, flyover_model, frame_size_px):
    bundle, _ = flyover_export
    reference = parity_reference(flyover_model, bundle.gallery_latlon_deg())
    cases = [case for case in edge_cases(reference, frame_size_px, max_frames=4) if case.graph != "location_encoder"]
    run = torch_runner(flyover_model, frame_size_px, "fp16")
    report = check_parity(reference, run, cases, engine="torch", precision="fp16")
    # The demo model's finest wave is hundreds of kilometres long: metres say little about it, the angle does.
    assert min(result.cosine_min for result in report.results) >= report.tolerance.cosine
    assert max(1 - result.cosine_min for result in report.results) > 1e-8


def test_an_engine_that_is_not_there_is_an_error_and_no_parity(flyover_export, flyover_model, frame_size_px):
    bundle, _ = flyover_export
    reference = parity_reference(flyover_model, bundle.gallery_latlon_deg()[:10])
    cases = tuple(edge_cases(reference, frame_size_px, max_frames=4))
    with pytest.raises(ModelError, match="tensorrt"):
        bundle_parity(bundle, reference, engine="tensorrt", precision="fp16", device="cuda:9", cases=cases)


@torch.no_grad()
def test_the_runtime_walks_the_whole_way(flyover_export, flyover_model, frame_size_px):
    bundle, _ = flyover_export
    engines = {name: open_engine(graph, threads=1) for name, graph in bundle.graphs.items()}
    frames_rgb = np.random.default_rng(0).integers(0, 256, (7, frame_size_px, frame_size_px, 3), dtype=np.uint8)
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


def write(run, out, force=False):
    return write_bundle(TrainedModel(run, read_about("flyover")), out, force=force)


def test_a_name_in_use_needs_force(flyover_export, flyover_run):
    bundle, _ = flyover_export
    with pytest.raises(OutputError, match="--force"):
        write(flyover_run, bundle.path)


def test_a_folder_must_be_called_a_bundle(flyover_run, tmp_path):
    for name in ("flyover", "..vidtag", "fly over.vidtag"):
        with pytest.raises(OutputError, match="NAME.vidtag"):
            write(flyover_run, tmp_path / name)


def copy_graphs(bundle):
    """Return a stand-in for the export: the graphs that are there already."""

    def write(model, frame_size_px, folder, **options):
        written = []
        for name, graph in bundle.graphs.items():
            (folder / graph.path.name).write_bytes(graph.path.read_bytes())
            written.append(GraphFile(name, "fp32", (folder / graph.path.name,)))
        return written

    return write


def test_graphs_of_another_model_leave_nothing_behind(flyover_export, flyover_run, tmp_path, monkeypatch):
    bundle, _ = flyover_export
    monkeypatch.setattr(export.bundle, "write_graphs", copy_graphs(bundle))
    other = copy.deepcopy(flyover_run.model)
    with torch.no_grad():
        other.georefiner.embed_output.weight[:100] *= -1.0
    with pytest.raises(ModelError, match="georefiner.*does not give what torch gives"):
        write(dataclasses.replace(flyover_run, model=other), tmp_path / "other.vidtag")
    assert list(tmp_path.iterdir()) == []


def test_force_replaces_the_whole_folder(flyover_export, flyover_run, tmp_path, monkeypatch):
    bundle, _ = flyover_export
    monkeypatch.setattr(export.bundle, "write_graphs", copy_graphs(bundle))
    out = tmp_path / "second.vidtag"
    out.mkdir()
    (out / "stale.onnx").write_bytes(b"")
    made, _ = write(flyover_run, out, force=True)
    assert made.name == "second"
    assert not (out / "stale.onnx").exists()
    assert list(tmp_path.iterdir()) == [out]
