"""The location encoder without float64 gives the places that float64 gives, and needs no lucky rounding for it."""

import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export.graphs.float32_phases import PROJECTIONS_IN_PARTS, SplitLocationEncoder, SplitNumber
from export.graphs.graphs import LocationPartsGraph
from export.graphs.onnx_files import export_onnx
from export.parity.reference import equivalent_step_m
from training.model.location_encoder import PROJECTIONS, LocationEncoder
from vidtag_cli.bundle.float_parts import parts_of

ALLOWED_M = 1.0
"""docs/method.md 2.5, in every precision and whatever a compiler does."""

EXPECTED_M = 0.05
"""What float32 layers alone move, away from the poles."""

COORDINATE_M = 0.005
"""Coordinates before the phases, in metres on the ground."""

METRES = {"equal_earth": 2.0e7, "sphere": 6.371e6}
"""Of one unit of a coordinate."""


def places(count=1000):
    rng = np.random.default_rng(0)
    lat_deg = np.rad2deg(np.arcsin(rng.uniform(-0.999, 0.999, count)))
    spread = np.stack([lat_deg, rng.uniform(-180.0, 180.0, count)], axis=-1)
    spread[:5] = [[0.0, 0.0], [48.8584, 2.2945], [-17.0, 179.999_999], [66.0, -180.0], [1e-9, -1e-9]]
    return spread


def parts(latlon_deg):
    return tuple(torch.from_numpy(part) for part in parts_of({"x": latlon_deg}).values())


@pytest.fixture(scope="module", params=sorted(PROJECTIONS))
def encoder(request):
    torch.manual_seed(0)
    return LocationEncoder(kind=request.param, sigmas=(1.0, 8.0, 256.0), hidden=256, embed_dim=128).eval()


@torch.no_grad()
def moved_m(encoder, found):
    exact = copy.deepcopy(encoder).double()(torch.from_numpy(places())).numpy()
    return equivalent_step_m(encoder, places(), found - exact)


@torch.no_grad()
def test_places_stay_where_they_are(encoder):
    found = SplitLocationEncoder(encoder)(*parts(places())).numpy()
    assert moved_m(encoder, found).max() < EXPECTED_M


@torch.no_grad()
def test_plain_float32_would_move_them(encoder):
    found = encoder(torch.from_numpy(places()).float()).numpy()
    assert moved_m(encoder, found).max() > ALLOWED_M


@torch.no_grad()
def test_a_compiler_that_loses_the_low_part_keeps_to_the_limit(encoder):
    high, low = parts(places())
    found = SplitLocationEncoder(encoder)(high, torch.zeros_like(low)).numpy()
    assert EXPECTED_M < moved_m(encoder, found).max() < ALLOWED_M


@torch.no_grad()
def test_an_engine_gives_the_same_and_the_graph_has_no_float64(encoder, tmp_path):
    path = tmp_path / "location_encoder.onnx"
    export_onnx("location_encoder", LocationPartsGraph(encoder), path, {"E": 128}, float64_as_parts=True)
    model = onnx.load(path)
    assert [value.name for value in model.graph.input] == ["latlon_deg_high", "latlon_deg_low"]
    assert onnx.TensorProto.DOUBLE not in {tensor.data_type for tensor in model.graph.initializer}
    casts = [node for node in model.graph.node if node.op_type == "Cast"]
    assert onnx.TensorProto.DOUBLE not in {attribute.i for node in casts for attribute in node.attribute}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, parts_of({"latlon_deg": places()}))
    assert moved_m(encoder, found).max() < EXPECTED_M


@pytest.mark.parametrize("kind", sorted(PROJECTIONS))
def test_coordinates_are_exact_to_millimetres_and_heads_are_short(kind):
    exact = PROJECTIONS[kind][0](torch.from_numpy(places())).numpy()
    found = PROJECTIONS_IN_PARTS[kind]()(*parts(places()))
    for axis, number in enumerate(found):
        steps = number.head.numpy() * 2048.0
        assert np.array_equal(steps, np.round(steps))
        assert np.abs(steps).max() <= 4096
        assert np.abs(number.tail.numpy()).max() < 1e-3
        value = number.head.double().numpy() + number.tail.double().numpy()
        assert np.abs(value[:, 0] - exact[:, axis]).max() * METRES[kind] < COORDINATE_M


def test_products_of_split_numbers_are_as_exact_as_they_say():
    rng = np.random.default_rng(0)
    heads = np.round(rng.uniform(-1.4, 1.4, (2, 1000, 1)) * 2048.0) / 2048.0
    tails = rng.uniform(-(2.0**-12), 2.0**-12, (2, 1000, 1)).astype(np.float32)
    a, b = (
        SplitNumber(torch.tensor(h, dtype=torch.float32), torch.tensor(t)) for h, t in zip(heads, tails, strict=True)
    )
    product = a * b
    exact = (heads[0] + tails[0].astype(np.float64)) * (heads[1] + tails[1].astype(np.float64))
    assert np.abs(product.head.double().numpy() + product.tail.double().numpy() - exact).max() < 1e-10
