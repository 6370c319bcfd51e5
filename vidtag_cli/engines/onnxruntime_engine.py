"""Graphs on ONNX Runtime: CPU, and NVIDIA GPUs through its CUDA and TensorRT providers."""

from __future__ import annotations

import os
from collections import Counter, OrderedDict
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from vidtag_cli.bundle.contract import TensorContract
from vidtag_cli.bundle.load import ModelGraph
from vidtag_cli.engines.onnxruntime_providers import (
    CPU_PROVIDER,
    TENSORRT_PROVIDER,
    TF32_VARIABLE,
    nodes_elsewhere,
    provider_of,
    provider_options,
)
from vidtag_cli.engines.onnxruntime_session import (
    import_onnxruntime,
    one_line,
    onnxruntime_errors,
    open_inference_session,
)
from vidtag_cli.engines.profiles import filled_shape, profiles_of
from vidtag_cli.engines.tensors import check_inputs, check_outputs
from vidtag_cli.errors import ModelError, UsageError

GPU_OPERATORS = frozenset(
    {
        "Attention",
        "MultiHeadAttention",
        "MatMul",
        "FusedMatMul",
        "MatMulNBits",
        "Gemm",
        "FusedGemm",
        "Conv",
        "FusedConv",
    }
)
"""Where the arithmetic is: one of these left to another provider makes the run another one than was asked for."""

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(double)": "float64"}

MAX_BOUND_SHAPES = 8
"""Shapes whose memory is kept; a pipeline uses two or three, and each holds its inputs and outputs on the device."""


class OnnxRuntimeEngine:
    """An ONNX graph in an ONNX Runtime session on the device that was asked for, never on another."""

    def __init__(
        self,
        graph: ModelGraph,
        device: str = "cpu",
        threads: int | None = None,
        *,
        with_tensorrt: bool = False,
        window_frames: int | None = None,
    ) -> None:
        """Open a graph on ``cpu``, ``cuda`` or ``cuda:1`` with a number of CPU threads, by default all usable ones.

        ``with_tensorrt`` takes the TensorRT provider, which builds its engines anew at every start. Raises ModelError
        when a provider cannot be loaded, changes an option or leaves heavy work to another one, or when the file does
        not have the tensors of its contract.
        """
        self._graph = graph
        self._device = device
        if threads is not None and threads < 1:
            raise UsageError(f"{threads} CPU threads: at least 1 is needed")
        self._ort = import_onnxruntime()
        self._errors = onnxruntime_errors()
        self._provider = provider_of(device, with_tensorrt)
        self._profile = profiles_of(graph, window_frames).as_one() if with_tensorrt else None
        requested = provider_options(self._provider, device, graph, window_frames)
        self._session = open_inference_session(
            self._ort, self._errors, str(graph.path), device, requested, threads or usable_cpus()
        )
        self._check_tensors()
        self._nodes = _nodes_by_provider(self._session)
        self._binding = None
        if self._provider != CPU_PROVIDER:
            self._refuse_misplaced_nodes()
            index = int(device.partition(":")[2] or 0)
            self._binding = DeviceBinding(self._ort, self._session, graph, "cuda", index)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        inputs = self._graph.feed(inputs)
        sizes = check_inputs(self._graph.name, self._graph.inputs, inputs)
        try:
            outputs = self._run_in_parts(inputs, sizes)
        except self._errors as error:
            shapes = {name: array.shape for name, array in inputs.items()}
            raise ModelError(
                f"{self._graph.name}: onnxruntime failed on {self._device} with {shapes}: {one_line(error)}; "
                "if memory ran out, use a smaller batch"
            ) from error
        check_outputs(self._graph.name, self._graph.outputs, outputs, sizes)
        return outputs

    def describe(self) -> dict[str, Any]:
        options = self._session.get_session_options()
        return {
            "engine": "onnxruntime_tensorrt" if self._provider == TENSORRT_PROVIDER else "onnxruntime",
            "version": self._ort.__version__,
            "device": self._device,
            "providers": self._session.get_providers(),
            "provider_options": self._session.get_provider_options(),
            "graph": self._graph.name,
            "graph_sha256": self._graph.sha256,
            "precision": self._graph.precision,
            "threads": options.intra_op_num_threads,
            "deterministic": options.use_deterministic_compute,
            "nodes": {provider: sum(operators.values()) for provider, operators in self._nodes.items()},
            **({"environment": {TF32_VARIABLE: os.environ.get(TF32_VARIABLE)}} if self._profile is not None else {}),
        }

    def _run_in_parts(self, inputs: Mapping[str, np.ndarray], sizes: dict[str, int]) -> dict[str, np.ndarray]:
        """Return the outputs of all rows, with TensorRT from as many at a time as its profile holds."""
        if self._profile is None:
            return self._run_bound(inputs, sizes)
        letter, most = self._profile.batch_letter, self._profile.most_rows
        parts = []
        for start in range(0, sizes[letter], most):
            part_sizes = sizes | {letter: min(most, sizes[letter] - start)}
            self._profile.serving(part_sizes)
            part = {name: array[start : start + most] for name, array in inputs.items()}
            parts.append(self._run_bound(part, part_sizes))
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _run_bound(self, inputs: Mapping[str, np.ndarray], sizes: dict[str, int]) -> dict[str, np.ndarray]:
        if self._binding is not None:
            return self._binding.run(inputs, sizes)
        # On the CPU arrays are read where they are; binding would add a copy.
        names = [tensor.name for tensor in self._graph.outputs]
        arrays = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        return dict(zip(names, self._session.run(names, arrays), strict=True))

    def _check_tensors(self) -> None:
        pairs = (
            ("inputs", self._graph.inputs, self._session.get_inputs()),
            ("outputs", self._graph.outputs, self._session.get_outputs()),
        )
        for side, promised, nodes in pairs:
            expected = sorted((tensor.name, tensor.dtype, len(tensor.shape)) for tensor in promised)
            actual = sorted((node.name, _DTYPES.get(node.type, node.type), len(node.shape)) for node in nodes)
            if actual != expected:
                raise ModelError(
                    f"{self._graph.path}: the {side} (name, dtype, dimensions) are {actual}, "
                    f"but the bundle promises {expected}; the bundle was not exported by this program"
                )
            shapes = {node.name: node.shape for node in nodes}
            for tensor in promised:
                self._check_shape(side, tensor, shapes[tensor.name])

    def _check_shape(self, side: str, tensor: TensorContract, shape: list[int | str | None]) -> None:
        """Raise ModelError when the file states another shape; a length that it leaves open is checked at every run."""
        for stated, promised in zip(shape, tensor.shape, strict=True):
            if isinstance(stated, int) and stated != promised:
                raise ModelError(
                    f"{self._graph.path}: {side}: {tensor.name} has the shape {shape}, but the bundle promises "
                    f"{list(tensor.shape)}; the bundle was not exported by this program"
                )

    def _refuse_misplaced_nodes(self) -> None:
        elsewhere = nodes_elsewhere(self._nodes, self._provider, GPU_OPERATORS)
        if CPU_PROVIDER in elsewhere.values():
            operators = ", ".join(operator for operator, other in elsewhere.items() if other == CPU_PROVIDER)
            raise ModelError(
                f"{self._graph.name}: onnxruntime {self._ort.__version__} would run {operators} on the CPU "
                f"although {self._device} was asked for: install a newer onnxruntime-gpu, or use --device cpu"
            )
        if elsewhere:
            raise ModelError(
                f"{self._graph.name}: onnxruntime {self._ort.__version__} would run {', '.join(elsewhere)} without "
                "TensorRT: use --engine onnxruntime --device cuda, or --engine tensorrt"
            )


class DeviceBinding:
    """Runs a session with inputs and outputs in memory of the device that is allocated once per shape.

    Without it the library allocates device memory for both at every run.
    """

    def __init__(self, ort: ModuleType, session: Any, graph: ModelGraph, device_type: str, device_index: int) -> None:
        self._ort, self._session, self._graph = ort, session, graph
        self._device = (device_type, device_index)
        self._bound: OrderedDict[tuple[tuple[str, int], ...], tuple[Any, dict[str, Any], dict[str, Any]]] = (
            OrderedDict()
        )

    def run(self, inputs: Mapping[str, np.ndarray], sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
        """Return the outputs by name; ``sizes`` are those of the free letters in these inputs."""
        binding, on_device, outputs = self._bind(sizes)
        for name, value in on_device.items():
            value.update_inplace(np.ascontiguousarray(inputs[name]))
        binding.synchronize_inputs()
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        # On the CPU the array would be the bound memory itself, which the next run overwrites.
        return {name: np.array(value.numpy(), copy=True) for name, value in outputs.items()}

    def _bind(self, sizes: Mapping[str, int]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        key = tuple(sorted(sizes.items()))
        if key in self._bound:
            self._bound.move_to_end(key)
            return self._bound[key]
        binding = self._session.io_binding()
        inputs = {tensor.name: self._allocate(tensor, sizes) for tensor in self._graph.inputs}
        outputs = {tensor.name: self._allocate(tensor, sizes) for tensor in self._graph.outputs}
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)
        self._bound[key] = (binding, inputs, outputs)
        while len(self._bound) > MAX_BOUND_SHAPES:
            self._bound.popitem(last=False)
        return self._bound[key]

    def _allocate(self, tensor: Any, sizes: Mapping[str, int]) -> Any:
        shape = list(filled_shape(tensor.shape, sizes))
        return self._ort.OrtValue.ortvalue_from_shape_and_type(shape, np.dtype(tensor.dtype), *self._device)


def usable_cpus() -> int:
    """Return how many CPUs this process may run on: under taskset and in a container fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _nodes_by_provider(session: Any) -> dict[str, Counter[str]]:
    nodes: dict[str, Counter[str]] = {}
    for subgraph in session.get_provider_graph_assignment_info():
        nodes.setdefault(subgraph.ep_name, Counter()).update(node.op_type for node in subgraph.get_nodes())
    return nodes
