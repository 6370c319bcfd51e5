"""The engines that are compared with torch take every case of the comparison."""

import numpy as np
import pytest
from fake_tensorrt import fake_gpu
from tiny_bundle import example_inputs, reference, write_tiny_bundle

from export.parity.bundle import engine_runner
from export.parity.cases import CLIP_SHAPES, MAX_FRAMES
from vidtag_cli.bundle import load_bundle

TOLERANCE = {"rtol": 1e-5, "atol": 1e-4}
"""Float32 sums over 6 features, as in tests/contracts/test_engines.py."""


@pytest.fixture
def graphs(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path / "home"))
    return load_bundle(write_tiny_bundle(tmp_path)).graphs


@pytest.mark.parametrize("library", ["tensorrt", "tensorrt_rtx"])
@pytest.mark.parametrize("name", ["tempgeo", "georefiner"])
def test_tensorrt_takes_clips_of_every_compared_length(graphs, monkeypatch, library, name):
    with fake_gpu(monkeypatch, library), engine_runner(graphs, library) as run:
        for clips, frames in (*CLIP_SHAPES, (1, MAX_FRAMES)):
            inputs = example_inputs(graphs[name], {"B": clips, "T": frames})
            outputs = run(name, inputs)
            for output, expected in reference(name, inputs).items():
                np.testing.assert_allclose(outputs[output], expected, **TOLERANCE)
