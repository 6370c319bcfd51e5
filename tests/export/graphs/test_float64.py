"""Coordinates keep float64's precision in the graph, where exporter and engine would round them."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from export.graphs import onnx_files
from export.graphs.onnx_files import export_onnx
from training.model.location_encoder import PROJECTIONS
from vidtag_cli.bundle.contract import LATLON_DEG, TensorContract

FLOAT64_AGREEMENT = 1e-14
"""A few roundings of numbers near 1; constants rounded to float32 are off by 5e-8, a metre on the ground."""


class Projection(nn.Module):
    """Only the projection of a location encoder."""

    def __init__(self, kind):
        super().__init__()
        self.project, self.coordinates = PROJECTIONS[kind]

    def forward(self, latlon_deg):
        return self.project(latlon_deg)


@pytest.mark.parametrize("kind", sorted(PROJECTIONS))
def test_projections_are_exact(kind, tmp_path, monkeypatch):
    projection = Projection(kind)
    output = TensorContract("coordinates", "float64", ("N", projection.coordinates))
    monkeypatch.setattr(onnx_files, "GRAPH_TENSORS", {"projection": ((LATLON_DEG,), (output,))})
    export_onnx("projection", projection, tmp_path / "projection.onnx", {})
    rng = np.random.default_rng(0)
    latlon_deg = np.stack([rng.uniform(-90, 90, 2000), rng.uniform(-180, 180, 2000)], -1)
    latlon_deg[:5] = [[90, 0], [-90, 180], [0, 0], [1e-9, -1e-9], [-17, -180]]
    session = onnxruntime.InferenceSession(tmp_path / "projection.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"latlon_deg": latlon_deg})
    wanted = projection(torch.from_numpy(latlon_deg)).numpy()
    assert found.dtype == np.float64
    assert np.abs(found - wanted).max() < FLOAT64_AGREEMENT
