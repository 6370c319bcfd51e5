"""The comparison of CPU times: its arithmetic, and that both sides are the same model."""

import copy

import numpy as np
import pytest
import torch

from export.graphs.graphs import reference_graphs
from export.studies.cpu_benchmark import Comparison, compare, format_comparison
from vidtag_cli.errors import ModelError


def test_ratios_are_those_of_the_targets():
    comparison = Comparison(2, 300.0, [3.0, 2.0, 2.4], [1.5, 2.5, 2.0], [0.02])
    assert comparison.c1() == pytest.approx(1.2)
    assert comparison.engine_gflops() == pytest.approx(200.0)
    assert comparison.c2() == pytest.approx(200.0 / (2.0 * 1024**3 / 1e9 / 0.02))
    printed = format_comparison(comparison)
    assert "C1 torch / ours      1.200" in printed
    assert "not shipped" in printed


@pytest.fixture
def sides(flyover_export, flyover_model, frame_size_px):
    bundle, _ = flyover_export
    frames_rgb = np.random.default_rng(0).integers(0, 256, (2, frame_size_px, frame_size_px, 3), dtype=np.uint8)
    return bundle.graphs["dual_encoder"], reference_graphs(flyover_model)["dual_encoder"], frames_rgb


def test_both_sides_take_turns(sides):
    before = torch.get_num_threads()
    try:
        comparison = compare(*sides, threads=1, rounds=2)
    finally:
        torch.set_num_threads(before)
    assert [len(times) for times in (comparison.torch_s, comparison.engine_s, comparison.ceiling_s)] == [2, 2, 2]
    assert comparison.gflop > 0.01


def test_another_model_is_refused(sides):
    graph, module, frames_rgb = sides
    other = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.2)
    with pytest.raises(ModelError, match="not of this checkpoint"):
        compare(graph, other, frames_rgb, threads=1, rounds=1)
