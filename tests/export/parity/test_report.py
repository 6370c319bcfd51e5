"""The comparison itself: it measures what it says, and it can fail."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from export.parity.bundle import require_parity
from export.parity.cases import CLIP_SHAPES, MAX_FRAMES, edge_cases
from export.parity.reference import equivalent_step_m, parity_reference
from export.parity.report import LOCATION_MOVED_M, TOLERANCES, CaseResult, ParityReport, check_parity, format_report
from training.model.location_encoder import LocationEncoder
from vidtag_cli.engines.opening import ENGINE_NAMES
from vidtag_cli.errors import ModelError, UsageError
from vidtag_cli.geo.sphere import destination_latlon, haversine_km

LINEAR = 0.01
"""A step of metres on an encoder whose finest wave is hundreds of kilometres long, in float32."""


@pytest.fixture(scope="module")
def reference(flyover_model):
    rng = np.random.default_rng(1)
    lat_deg = np.degrees(np.arcsin(rng.uniform(-1, 1, 500)))
    return parity_reference(flyover_model, np.stack([lat_deg, rng.uniform(-180, 180, 500)], -1))


@pytest.fixture(scope="module")
def cases(reference, frame_size_px):
    return list(edge_cases(reference, frame_size_px))


def torch_itself(reference):
    return lambda graph, inputs: reference.run(graph, inputs)


def spoiled(reference, graph_name, spoil):
    """Return an engine that is right but for one graph."""

    def run(graph, inputs):
        outputs = reference.run(graph, inputs)
        return {name: spoil(values) for name, values in outputs.items()} if graph == graph_name else outputs

    return run


def test_every_tolerance_has_a_reason():
    assert TOLERANCES["onnxruntime", "fp32"].cosine >= 0.99999
    assert TOLERANCES["onnxruntime", "fp32"].moved_m <= 1.0
    assert all(len(tolerance.reason) > 20 for tolerance in TOLERANCES.values())


def test_every_engine_has_both_precisions_and_no_other():
    assert set(TOLERANCES) == {
        (engine, precision) for engine in ("torch", *ENGINE_NAMES) for precision in ("fp32", "fp16")
    }


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_location_encoder_may_move_a_metre_at_most(precision):
    result = CaseResult("location_encoder", "x", 1, 1.0, 1.0, 0.9 * LOCATION_MOVED_M, 0.0, 0)
    far = dataclasses.replace(result, moved_max_m=1.1 * LOCATION_MOVED_M)
    tolerance = TOLERANCES["onnxruntime", precision]
    assert ParityReport("onnxruntime", precision, tolerance, (result, far)).failures() == (far,)


def test_the_cases_reach_the_edges(cases):
    names = {(case.graph, case.name) for case in cases}
    for name in ("black", "white", "noise", "one frame", "two frames", "largest batch"):
        assert ("dual_encoder", name) in names
    for clips, frames in CLIP_SHAPES:
        assert {("tempgeo", f"{clips} x {frames}"), ("georefiner", f"{clips} x {frames}")} <= names
    assert {1, 2, 16, 31} <= {frames for _, frames in CLIP_SHAPES}
    largest = next(case.inputs["frames_rgb"] for case in cases if case.name == "largest batch")
    assert len(largest) == MAX_FRAMES
    assert {0, 255} <= {int(picture.min()) for picture in largest if picture.min() == picture.max()}
    assert ("location_encoder", "poles and seam") in names


def test_torch_agrees_with_torch(reference, cases):
    report = check_parity(reference, torch_itself(reference), cases)
    assert not report.failures()
    assert all(result.best_places_changed == 0 for result in report.results)
    assert json.loads(json.dumps(report.document(), allow_nan=False))["passed"] is True
    assert "FAILED" not in format_report(report)


@pytest.mark.parametrize("graph", ["dual_encoder", "tempgeo", "location_encoder", "georefiner"])
def test_a_spoiled_graph_fails_alone(reference, cases, graph):
    rng = np.random.default_rng(0)
    noise = lambda values: values + rng.normal(0, 0.02, values.shape).astype(np.float32)  # noqa: E731
    report = check_parity(reference, spoiled(reference, graph, noise), cases)
    assert report.failed_graphs() == (graph,)
    assert "FAILED" in format_report(report)


def test_a_result_that_is_no_number_fails(reference, cases):
    report = check_parity(reference, spoiled(reference, "georefiner", lambda values: values * np.nan), cases)
    assert report.failed_graphs() == ("georefiner",)


def test_another_shape_is_an_error(reference, cases):
    with pytest.raises(ValueError, match="the engine gave"):
        check_parity(reference, spoiled(reference, "dual_encoder", lambda values: values[:, 1:]), cases)


def test_an_engine_nobody_thought_about_is_refused(reference, cases):
    with pytest.raises(UsageError, match="no tolerance for abacus at int4"):
        check_parity(reference, torch_itself(reference), cases, engine="abacus", precision="int4")


def test_a_failed_graph_is_removed(reference, cases, tmp_path):
    for name in ("tempgeo.onnx", "tempgeo.onnx.data", "georefiner.onnx"):
        (tmp_path / name).write_bytes(b"")
    report = check_parity(reference, spoiled(reference, "tempgeo", lambda values: -values), cases)
    with pytest.raises(ModelError, match="tempgeo"):
        require_parity(report, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["georefiner.onnx"]


@pytest.mark.parametrize("kind", ["sphere", "equal_earth"])
@torch.no_grad()
def test_the_equivalent_step_is_the_step_taken(kind):
    torch.manual_seed(0)
    encoder = LocationEncoder(kind=kind, sigmas=(1.0, 16.0), frequencies=64, hidden=64, embed_dim=32)
    start = np.array([[48.8584, 2.2945], [-17.0, 179.5], [66.0, -170.0], [-45.0, 100.0]])
    step_m = 300.0  # float32 embeddings of a random encoder do not show less
    for bearing_deg in (0.0, 90.0, 217.0):
        moved = destination_latlon(start, bearing_deg, step_m / 1000.0)
        change = (encoder(torch.from_numpy(moved)) - encoder(torch.from_numpy(start))).numpy()
        assert equivalent_step_m(encoder, start, change) == pytest.approx(np.full(4, step_m), rel=LINEAR)


@torch.no_grad()
def test_the_seam_of_an_encoder_is_no_slope():
    torch.manual_seed(0)
    encoder = LocationEncoder(kind="equal_earth", sigmas=(1.0, 16.0), frequencies=64, hidden=64, embed_dim=32)
    start = np.array([[10.0, 179.999_999]])  # the derivative's step to the east ends beyond 180
    moved = destination_latlon(start, 270.0, 0.3)
    change = (encoder(torch.from_numpy(moved)) - encoder(torch.from_numpy(start))).numpy()
    # Not LINEAR: a kink of a ReLU lies between. Taken across the seam, the derivative would be thousands of times
    # steeper.
    assert equivalent_step_m(encoder, start, change)[0] == pytest.approx(300.0, rel=0.1)


def test_a_continuous_position_moves_toward_the_neighbour(reference):
    best = reference.best_places(reference.gallery_embedding[:1])
    assert best.tolist() == [0]
    at = reference.gallery_latlon_deg[:1]
    other = np.argsort(haversine_km(reference.gallery_latlon_deg, at[0]))[1]
    own, neighbour = reference.gallery_embedding[:1], reference.gallery_embedding[[other]]
    plain, moved = (reference.positions(embedding, best) for embedding in (own, own + 0.2 * (neighbour - own)))
    target = reference.gallery_latlon_deg[[other]]
    assert haversine_km(moved, target)[0] < haversine_km(plain, target)[0]
    assert math.isfinite(haversine_km(plain, moved)[0])
