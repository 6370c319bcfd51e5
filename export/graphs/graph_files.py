"""All ONNX files of a model: every graph in every precision asked for, and the form TensorRT needs."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from export.graphs.graphs import exported_graph, graph_sizes, location_parts_graph, reference_graphs
from export.graphs.half_precision import SINGLE_PRECISION_GRAPHS, Precision
from export.graphs.onnx_files import StoredWeights, export_onnx
from training.model.vidtag import VidTag
from vidtag_cli.bundle.contract import GraphContract, GraphVariant, graph_contract
from vidtag_cli.bundle.integrity import sha256_of


@dataclass(frozen=True, slots=True)
class GraphFile:
    """One ONNX file of a graph: ``paths`` are the graph and, where its weights are large, the file they are in."""

    graph: str
    precision: Precision
    paths: tuple[Path, ...]
    float64_as_parts: bool = False


def write_graphs(
    model: VidTag,
    frame_size_px: int,
    folder: Path,
    *,
    precisions: Sequence[Precision] = ("fp32",),
    store_weights: StoredWeights = "float32",
    for_tensorrt: bool = False,
) -> list[GraphFile]:
    """Write all graphs of a model into a folder, one after the other, and return the files in that order.

    The first precision is the bundle's own: ``tempgeo.onnx``; others are called ``tempgeo.fp16.onnx``. With
    ``for_tensorrt`` the location encoder is written a second time, without float64.
    """
    return list(_each_graph_file(model, frame_size_px, folder, precisions, store_weights, for_tensorrt))


def graph_contracts(files: Iterable[GraphFile]) -> dict[str, GraphContract]:
    """Return the contract of every graph from its files, of which the first is the bundle's own."""
    of_graph: dict[str, list[GraphFile]] = {}
    for file in files:
        of_graph.setdefault(file.graph, []).append(file)
    return {name: _contract_of(name, first, others) for name, (first, *others) in of_graph.items()}


def _each_graph_file(
    model: VidTag,
    frame_size_px: int,
    folder: Path,
    precisions: Sequence[Precision],
    store_weights: StoredWeights,
    for_tensorrt: bool,
) -> Iterator[GraphFile]:
    sizes = graph_sizes(model, frame_size_px)
    for name in reference_graphs(model):
        of_graph: Sequence[Precision] = ("fp32",) if name in SINGLE_PRECISION_GRAPHS else precisions
        for index, precision in enumerate(of_graph):
            path = folder / (f"{name}.onnx" if index == 0 else f"{name}.{precision}.onnx")
            graph = exported_graph(model, name, frame_size_px, precision)
            # A graph in half precision has its weights in halves already.
            stored = store_weights if precision == "fp32" else "float32"
            yield GraphFile(name, precision, export_onnx(name, graph, path, sizes, stored))
            del graph
            gc.collect()  # the exporter's graphs hold the weights in circles; at full size that is gigabytes
    if for_tensorrt:
        path = folder / "location_encoder.parts.onnx"
        graph = location_parts_graph(model)
        paths = export_onnx("location_encoder", graph, path, sizes, store_weights, float64_as_parts=True)
        yield GraphFile("location_encoder", "fp32", paths, float64_as_parts=True)


def _contract_of(name: str, first: GraphFile, others: Sequence[GraphFile]) -> GraphContract:
    variants = tuple(
        GraphVariant(file.paths[0].name, sha256_of(file.paths[0]), file.precision, file.float64_as_parts)
        for file in others
    )
    return graph_contract(name, first.paths[0].name, sha256_of(first.paths[0]), first.precision, variants)
