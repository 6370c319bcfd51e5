"""Graphs on ONNX Runtime: CPU, and NVIDIA GPUs through its CUDA and TensorRT providers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from vidtag_cli.bundle.load import ModelGraph
from vidtag_cli.engines.onnxruntime_binding import DeviceBinding
from vidtag_cli.engines.onnxruntime_library import import_onnxruntime, onnxruntime_errors
from vidtag_cli.engines.onnxruntime_providers import (
    CPU_PROVIDER,
    TENSORRT_PROVIDER,
    TF32_VARIABLE,
    ProviderOptions,
    check_options,
    load_cuda_libraries,
    load_tensorrt_libraries,
    nodes_elsewhere,
    provider_of,
    provider_options,
    session_options,
)
from vidtag_cli.engines.profiles import profiles_of
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

_OTHER_TENSORRT = (
    "onnxruntime may be built for another: the releases so far want 10, which pip install 'tensorrt<11' brings, "
    "and only --engine tensorrt takes 11 too"
)

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(double)": "float64"}

_IDENTITY_GRAPH = (
    b'\x08\x08:A\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x14\n\x01x\x12\x0f\n\r\x08\x01\x12\t\n\x03\x12\x01N\n\x02'
    b"\x08\x03b\x14\n\x01y\x12\x0f\n\r\x08\x01\x12\t\n\x03\x12\x01N\n\x02\x08\x03B\x04\n\x00\x10\x11"
)
"""The smallest graph, y = x: opening it shows whether the libraries of a provider load; its name in a list does not."""


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
        asked = provider_options(self._provider, device, graph, window_frames)
        self._session = _open_session(self._ort, self._errors, str(graph.path), device, asked, threads or usable_cpus())
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
                f"{self._graph.name}: onnxruntime failed on {self._device} with {shapes}: {_one_line(error)}; "
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
        for side, wanted, found in pairs:
            expected = sorted((tensor.name, tensor.dtype, len(tensor.shape)) for tensor in wanted)
            actual = sorted((node.name, _DTYPES.get(node.type, node.type), len(node.shape)) for node in found)
            if actual != expected:
                raise ModelError(
                    f"{self._graph.path}: the {side} (name, dtype, dimensions) are {actual}, "
                    f"but the bundle promises {expected}; the bundle was not exported by this program"
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


def usable_cpus() -> int:
    """Return how many CPUs this process may run on: under taskset and in a container fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def probe_device(device: str, with_tensorrt: bool = False) -> str:
    """Return why a device cannot be used here, or an empty text when a tiny graph opened on it."""
    try:
        ort = import_onnxruntime()
        asked = provider_options(provider_of(device, with_tensorrt), device, None)
        _open_session(ort, onnxruntime_errors(), _IDENTITY_GRAPH, device, asked, threads=1)
    except ModelError as error:
        return str(error)
    return ""


def _open_session(
    ort: ModuleType,
    errors: tuple[type[Exception], ...],
    source: str | bytes,
    device: str,
    asked: list[tuple[str, ProviderOptions]],
    threads: int,
) -> Any:
    provider = asked[0][0]
    if provider not in ort.get_available_providers():
        raise ModelError(
            f"{device}: this onnxruntime ({ort.__version__}) has no {provider}: "
            "remove the package onnxruntime and install vidtag-geo[gpu], which brings onnxruntime-gpu"
        )
    # Before the CUDA libraries, for it sets what they read when they start.
    tensorrt = load_tensorrt_libraries(ort.__version__) if provider == TENSORRT_PROVIDER else ""
    if provider != CPU_PROVIDER:
        load_cuda_libraries(ort)
    hint = f" (TensorRT {tensorrt} is installed; {_OTHER_TENSORRT})" if tensorrt else ""
    try:
        # Otherwise the library retries on the CPU by itself, and prints so to stdout.
        session = ort.InferenceSession(source, session_options(ort, threads), providers=asked, enable_fallback=0)
    except errors as error:
        reason = _one_line(error)
        # So it says both when libraries are missing and when they are those of another TensorRT.
        why = reason + hint if "install TensorRT" in reason else reason
        raise ModelError(f"onnxruntime cannot open {_name_of(source)} on {device}: {why}") from error
    loaded = session.get_providers()
    if loaded[0] != provider:
        raise ModelError(
            f"{device}: onnxruntime could not load {provider}{hint} and would run on {', '.join(loaded)}: "
            "check the NVIDIA driver with nvidia-smi and install vidtag-geo[gpu], which brings CUDA and cuDNN"
        )
    check_options(session, asked, threads, _name_of(source), ort.__version__)
    return session


def _nodes_by_provider(session: Any) -> dict[str, Counter[str]]:
    nodes: dict[str, Counter[str]] = {}
    for subgraph in session.get_provider_graph_assignment_info():
        nodes.setdefault(subgraph.ep_name, Counter()).update(node.op_type for node in subgraph.get_nodes())
    return nodes


def _name_of(source: str | bytes) -> str:
    return source if isinstance(source, str) else "a test graph"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
