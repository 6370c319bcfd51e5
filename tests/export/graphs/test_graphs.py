"""The graphs as modules: what is baked and written out changes nothing."""

import copy

import pytest
import torch
from torch import nn

from export.graphs.graphs import ChannelAffine, exported_graph, graph_sizes, reference_graphs
from vidtag_cli.bundle.contract import GRAPHS_OF_KIND

HALF = 0.03
"""Ten bits of mantissa, values up to a few units."""

WRITTEN_OUT_NORM = 1e-5
"""The factor of a batch norm, computed in float64 and rounded once, against torch's float32, values up to 10."""


def exported_graphs(model, frame_size_px, precision="fp32"):
    return {name: exported_graph(model, name, frame_size_px, precision) for name in reference_graphs(model)}


@pytest.mark.parametrize(("norm", "shape"), [(nn.BatchNorm1d(6), (5, 6)), (nn.BatchNorm2d(6), (5, 6, 3, 4))])
def test_a_written_out_batch_norm_is_the_batch_norm(norm, shape):
    torch.manual_seed(0)
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(norm.running_var, 0.1, 3.0)
    values = torch.randn(shape)
    assert (ChannelAffine(norm)(values) - norm.eval()(values)).abs().max() < WRITTEN_OUT_NORM


def test_there_is_a_graph_for_each_of_the_contract(flyover_model, frame_size_px):
    assert tuple(exported_graphs(flyover_model, frame_size_px)) == GRAPHS_OF_KIND["vidtag"]


def test_no_batch_norm_is_left_and_the_model_stays_as_it_was(flyover_model, frame_size_px):
    before = copy.deepcopy(flyover_model.state_dict())
    graphs = exported_graphs(flyover_model, frame_size_px)
    kinds = {type(module) for graph in graphs.values() for module in graph.modules()}
    assert not kinds & {nn.BatchNorm1d, nn.BatchNorm2d}
    after = flyover_model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def some_inputs(sizes):
    torch.manual_seed(0)
    side, features, embedding = sizes["S"], sizes["D"], sizes["E"]
    return {
        "dual_encoder": (torch.randint(0, 256, (3, side, side, 3), dtype=torch.uint8),),
        "tempgeo": (nn.functional.normalize(torch.randn(2, 5, features), dim=-1),),
        "location_encoder": (torch.tensor([[10.0, 20.0], [-17.0, 180.0]], dtype=torch.float64),),
        "georefiner": (torch.randn(2, 5, features), torch.randn(2, 5, embedding)),
    }


@pytest.mark.parametrize(("precision", "apart"), [("fp32", 1e-5), ("fp16", HALF)])
@torch.no_grad()
def test_exported_graphs_give_what_the_model_gives(flyover_model, frame_size_px, precision, apart):
    inputs = some_inputs(graph_sizes(flyover_model, frame_size_px))
    reference = reference_graphs(flyover_model)
    for name, graph in exported_graphs(flyover_model, frame_size_px, precision).items():
        wanted, found = reference[name](*inputs[name]), graph(*inputs[name])
        for a, b in zip(wanted, found, strict=True):
            assert b.dtype == torch.float32
            assert torch.allclose(a, b, atol=apart), name


@torch.no_grad()
def test_half_precision_is_in_the_networks_and_nowhere_else(flyover_model, frame_size_px):
    graphs = exported_graphs(flyover_model, frame_size_px, "fp16")
    halves = {name: {p.dtype for p in graph.parameters()} for name, graph in graphs.items()}
    assert halves["location_encoder"] == {torch.float32}  # an island as large as a graph
    assert all(dtypes == {torch.float16} for name, dtypes in halves.items() if name != "location_encoder")
    buffers = dict(graphs["dual_encoder"].encoder.named_buffers(recurse=False))
    assert {buffer.dtype for buffer in buffers.values()} == {torch.float32}


def test_the_sizes_are_those_of_the_configuration(flyover_model, flyover_config, frame_size_px):
    sizes = graph_sizes(flyover_model, frame_size_px)
    model = flyover_config.model
    assert sizes == {"S": frame_size_px, "D": model.feature_dim, "E": model.embed_dim}


def test_an_ablation_is_no_bundle(flyover_model):
    ablation = copy.deepcopy(flyover_model)
    ablation.tempgeo = None
    with pytest.raises(ValueError, match="TempGeo"):
        exported_graphs(ablation, 40)
