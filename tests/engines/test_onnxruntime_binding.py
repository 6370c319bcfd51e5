"""IO binding, on the CPU: the same code as on a GPU, where only the memory is another."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_bundle import example_inputs, reference, write_tiny_bundle

from vidtag_cli.bundle import load_bundle
from vidtag_cli.engines.onnxruntime_engine import MAX_BOUND_SHAPES, DeviceBinding
from vidtag_cli.engines.onnxruntime_session import import_onnxruntime

TOLERANCE = {"rtol": 1e-5, "atol": 1e-4}
"""Float32 sums over 6 features."""


@pytest.fixture
def graph(tmp_path):
    return load_bundle(write_tiny_bundle(tmp_path)).graphs["georefiner"]


@pytest.fixture
def binding(graph):
    ort = import_onnxruntime()
    session = ort.InferenceSession(str(graph.path), providers=["CPUExecutionProvider"])
    return DeviceBinding(ort, session, graph, "cpu", 0)


def check(graph, binding, batch, frames, seed=0):
    sizes = {"B": batch, "T": frames}
    inputs = example_inputs(graph, sizes, seed)
    outputs = binding.run(inputs, sizes)
    np.testing.assert_allclose(
        outputs["refined_embedding"], reference("georefiner", inputs)["refined_embedding"], **TOLERANCE
    )
    return outputs["refined_embedding"]


def test_bound_runs_give_the_values_of_numpy_at_every_shape(graph, binding):
    for batch in range(1, MAX_BOUND_SHAPES + 3):
        check(graph, binding, batch, frames=3)
    check(graph, binding, 1, frames=3)


def test_outputs_are_kept_when_the_same_memory_is_used_again(graph, binding):
    first = check(graph, binding, 2, 3)
    before = first.copy()
    check(graph, binding, 2, 3, seed=1)
    np.testing.assert_array_equal(first, before)


def test_arrays_that_are_not_contiguous_are_understood(graph, binding):
    sizes = {"B": 2, "T": 3}
    inputs = example_inputs(graph, sizes)
    turned = {name: np.asfortranarray(array) for name, array in inputs.items()}
    straight, other = binding.run(inputs, sizes), binding.run(turned, sizes)
    np.testing.assert_array_equal(straight["refined_embedding"], other["refined_embedding"])
