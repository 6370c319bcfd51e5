"""ONNX files of the graphs: dynamic where the contract has letters, weights optionally stored in half the space.

Left to itself torch's exporter rounds every number of the source code to float32, in float64 arithmetic too: pi / 180
and the constants of a projection are then off by 3e-8, which is a metre on the ground. And engines know the arcsine in
float32 only.
"""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from vidtag_cli.bundle.contract import GRAPH_TENSORS, TensorContract
from vidtag_cli.bundle.float_parts import tensors_in_parts
from vidtag_cli.errors import ModelError

_log = logging.getLogger("export")

StoredWeights = Literal["float32", "float16"]

OPSET = 23
"""The first with an ``Attention`` operator: the graphs are a third shorter than at 20 and the fastest on ONNX Runtime's
CPU; TensorRT reads it from 10.14 on."""

EXTERNAL_DATA_BYTES = 64_000_000
"""Larger weights go into a file beside the graph, which an engine maps into memory and does not read; and a protocol
buffer holds at most 2 GiB."""

MAPPED_ALIGNMENT_BYTES = 4096
"""A page: large tensors begin at one, so that each is mapped by itself."""

_HALVED_FROM_VALUES = 256
"""Smaller tensors save less than the Cast costs in the file."""

_DUMMY_SIZES = {"N": 2, "B": 2, "T": 3}
"""At least two each: the exporter takes a dimension of one as a constant."""

_BAKED_WEIGHT = "position_embeddings"
"""DINOv2's, interpolated at export: they leave the grid by that and stay float32, 1 MB at full size."""

_TORCH_DTYPES = {"uint8": torch.uint8, "float32": torch.float32, "float64": torch.float64}


def export_onnx(
    name: str,
    graph: nn.Module,
    path: Path,
    sizes: Mapping[str, int],
    store_weights: StoredWeights = "float32",
    *,
    float64_as_parts: bool = False,
) -> tuple[Path, ...]:
    """Write one graph of the contract as ONNX and return the files written: the graph, and its weights if large.

    ``sizes`` gives the letters that the bundle fixes; all others stay free. With ``store_weights="float16"`` the file
    holds halves and a Cast behind each, which the engine folds when it opens the file: it computes in float32 all the
    same. Nothing is lost, or ModelError is raised: the weights must lie on float16's grid
    (:mod:`training.model.rounding`).
    With ``float64_as_parts`` the graph takes float64 inputs as two of float32 (``vidtag_cli.bundle.float_parts``).
    """
    _log.info("writing %s", path.name)
    if store_weights == "float16":
        _check_weights_on_grid(name, graph)
    model = traced_graph(name, graph, sizes, float64_as_parts=float64_as_parts)
    return _write(model, path, store_weights)


def traced_graph(name: str, graph: nn.Module, sizes: Mapping[str, int], *, float64_as_parts: bool = False) -> Any:
    """Return a graph in the exporter's form, which refers to torch's weights and copies only what it folds."""
    inputs, outputs = GRAPH_TENSORS[name]
    if float64_as_parts:
        inputs = tensors_in_parts(inputs)
    free = {letter: torch.export.Dim(letter) for letter in _DUMMY_SIZES}
    with _exporter_settings(), torch.no_grad():
        program = torch.onnx.export(
            graph.eval(),
            tuple(_dummy(tensor, sizes) for tensor in inputs),
            dynamo=True,
            input_names=[tensor.name for tensor in inputs],
            output_names=[tensor.name for tensor in outputs],
            dynamic_shapes=tuple(_free_axes(tensor, sizes, free) for tensor in inputs),
            opset_version=OPSET,
            custom_translation_table=dict(float64_translations()),
            verbose=False,
        )
    _describe(program.model, name)
    return program.model


def _write(model: Any, path: Path, store_weights: StoredWeights) -> tuple[Path, ...]:
    import onnx
    import onnx_ir

    if store_weights == "float16":
        document = onnx_ir.to_proto(model)
        _halve_weights(document.graph)
        model = onnx_ir.from_proto(document)
    if sum(weight.const_value.nbytes for weight in model.graph.initializers.values()) < EXTERNAL_DATA_BYTES:
        onnx.save(onnx_ir.to_proto(model), path)
        onnx.checker.check_model(path, full_check=True)
        return (path,)
    data = path.with_name(f"{path.name}.data")
    onnx_ir.save(model, path, external_data=data.name, alignment=MAPPED_ALIGNMENT_BYTES)
    onnx.checker.check_model(path)
    return path, data


@contextlib.contextmanager
def _exporter_settings() -> Iterator[None]:
    """Keep torch from its fused attention, which no exporter knows, and from reports that nobody reads."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _dummy(tensor: TensorContract, sizes: Mapping[str, int]) -> Tensor:
    shape = [_size(dimension, {**_DUMMY_SIZES, **sizes}) for dimension in tensor.shape]
    return torch.ones(shape, dtype=_TORCH_DTYPES[tensor.dtype])


def _size(dimension: int | str, sizes: Mapping[str, int]) -> int:
    return dimension if isinstance(dimension, int) else sizes[dimension]


def _free_axes(tensor: TensorContract, sizes: Mapping[str, int], free: Mapping[str, Any]) -> dict[int, Any]:
    letters = {axis: letter for axis, letter in enumerate(tensor.shape) if isinstance(letter, str)}
    return {axis: free[letter] for axis, letter in letters.items() if letter not in sizes}


def _describe(model: Any, name: str) -> None:
    """Say what the graph is, and forget where it was made: the exporter notes source files and lines at every node."""
    graph = model.graph
    values = [value for node in graph for value in node.outputs]
    for part in (model, graph, *graph, *graph.inputs, *graph.initializers.values(), *values):
        part.metadata_props.clear()
        part.doc_string = None
    model.doc_string = f"vidtag graph {name}"


def _check_weights_on_grid(name: str, graph: nn.Module) -> None:
    for weight_name, weight in graph.named_parameters():
        if weight.ndim < 2 or weight_name.endswith(_BAKED_WEIGHT):
            continue
        if not torch.equal(weight.half().float(), weight.float()):
            raise ModelError(
                f"{name}: {weight_name} does not fit into float16 without loss: apply "
                "training.model.rounding.round_weights_ to the model before it is measured, or export with "
                'store_weights="float32"'
            )


def _halve_weights(graph: Any) -> None:
    """Store every float32 tensor that float16 holds exactly as halves, with a Cast back under the old name."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if values.size < _HALVED_FROM_VALUES or not np.array_equal(halves.astype(np.float32), values):
            continue
        stored = f"{tensor.name}_float16"
        name = f"widen_{tensor.name}"
        casts.append(helper.make_node("Cast", [stored], [tensor.name], name=name, to=TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(halves, stored))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def float64_translations() -> Mapping[Callable[..., Any], Callable[..., Any]]:
    """Return the translations for ``torch.onnx.export(custom_translation_table=...)`` that keep float64 exact."""
    return {
        torch.ops.aten.scalar_tensor.default: _scalar,
        torch.ops.aten.deg2rad.default: _radians,
        torch.ops.aten.asin.default: _arcsine,
    }


def _scalar(s: Any, dtype: int = -1, layout: str = "", device: str = "", pin_memory: bool = False) -> Any:
    """Return a number as a constant of a dtype, given as ONNX numbers it; -1 is float32."""
    from onnx import TensorProto, helper
    from onnxscript import opset23 as op

    dtype = TensorProto.FLOAT if dtype == -1 else dtype
    if isinstance(s, (int, float)):
        return op.Constant(value=helper.make_tensor("", dtype, [], [s]))
    return op.Cast(s, to=dtype)


def _radians(self: Any) -> Any:
    from onnx import TensorProto, helper
    from onnxscript import opset23 as op

    factor = helper.make_tensor("", TensorProto.DOUBLE, [], [math.pi / 180.0])
    return op.Mul(self, op.CastLike(op.Constant(value=factor), self))


def _arcsine(self: Any) -> Any:
    """Return the arcsine by two Newton steps from float32's, which take its seven digits past float64's.

    On the range of Equal Earth, 60 degrees, the cosine that is divided by is never under a half.
    """
    from onnx import TensorProto
    from onnxscript import opset23 as op

    start = op.Asin(op.Cast(self, to=TensorProto.FLOAT))
    angle = op.Cast(start, to=TensorProto.DOUBLE)
    for _ in range(2):
        angle = op.Sub(angle, op.Div(op.Sub(op.Sin(angle), self), op.Cos(angle)))
    return angle
