"""Graphs on ONNX Runtime: CPU, and NVIDIA GPUs through its CUDA provider."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from vidtag_cli.bundle.load import ModelGraph
from vidtag_cli.engines.onnxruntime_library import import_onnxruntime, onnxruntime_errors
from vidtag_cli.engines.tensors import check_inputs, check_outputs
from vidtag_cli.errors import ModelError, UsageError

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"

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
"""Where the arithmetic is: one of these left on the CPU makes a run on the GPU a run on the CPU."""

_ERRORS_ONLY = 3

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(double)": "float64"}

_IDENTITY_GRAPH = (
    b'\x08\x08:A\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x14\n\x01x\x12\x0f\n\r\x08\x01\x12\t\n\x03\x12\x01N\n\x02'
    b"\x08\x03b\x14\n\x01y\x12\x0f\n\r\x08\x01\x12\t\n\x03\x12\x01N\n\x02\x08\x03B\x04\n\x00\x10\x11"
)
"""The smallest graph, y = x: opening it shows whether the libraries of a provider load; its name in a list does not."""


class OnnxRuntimeEngine:
    """An ONNX graph in an ONNX Runtime session on the device that was asked for, never on another."""

    def __init__(self, graph: ModelGraph, device: str = "cpu", threads: int | None = None) -> None:
        """Open a graph on ``cpu``, ``cuda`` or ``cuda:1`` with a number of CPU threads, by default all usable ones.

        Raises ModelError when the provider cannot be loaded, leaves heavy work on the CPU, or the file does not have
        the tensors of its contract.
        """
        self._graph = graph
        self._device = device
        if threads is not None and threads < 1:
            raise UsageError(f"{threads} CPU threads: at least 1 is needed")
        self._ort = import_onnxruntime()
        self._errors = onnxruntime_errors()
        self._session = _open_session(self._ort, self._errors, str(graph.path), device, threads or usable_cpus())
        self._check_tensors()
        self._nodes = _nodes_by_provider(self._session)
        if provider_of(device) != CPU_PROVIDER:
            self._refuse_misplaced_nodes()

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        sizes = check_inputs(self._graph.name, self._graph.inputs, inputs)
        names = [tensor.name for tensor in self._graph.outputs]
        arrays = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        try:
            results = self._session.run(names, arrays)
        except self._errors as error:
            shapes = {name: array.shape for name, array in arrays.items()}
            raise ModelError(
                f"{self._graph.name}: onnxruntime failed on {self._device} with {shapes}: {_one_line(error)}; "
                "if memory ran out, use a smaller batch"
            ) from error
        outputs = dict(zip(names, results, strict=True))
        check_outputs(self._graph.name, self._graph.outputs, outputs, sizes)
        return outputs

    def describe(self) -> dict[str, Any]:
        options = self._session.get_session_options()
        return {
            "engine": "onnxruntime",
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
        }

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
        misplaced = sorted(GPU_OPERATORS & set(self._nodes.get(CPU_PROVIDER, ())))
        if misplaced:
            raise ModelError(
                f"{self._graph.name}: onnxruntime {self._ort.__version__} would run {', '.join(misplaced)} on the CPU "
                f"although {self._device} was asked for: install a newer onnxruntime-gpu, or use --device cpu"
            )


def usable_cpus() -> int:
    """Return how many CPUs this process may run on: under taskset and in a container fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def provider_of(device: str) -> str:
    """Return the provider that serves a device; raises ModelError for a device that does not exist."""
    kind, _, index = device.partition(":")
    if device == "cpu":
        return CPU_PROVIDER
    if kind == "cuda" and (device == "cuda" or index.isdecimal()):
        return CUDA_PROVIDER
    raise ModelError(f"{device}: unknown device for onnxruntime; use cpu, cuda or cuda:1")


def probe_device(device: str) -> str:
    """Return why a device cannot be used here, or an empty text when a tiny graph opened on it."""
    try:
        ort = import_onnxruntime()
        _open_session(ort, onnxruntime_errors(), _IDENTITY_GRAPH, device, threads=1)
    except ModelError as error:
        return str(error)
    return ""


def _open_session(
    ort: ModuleType, errors: tuple[type[Exception], ...], source: str | bytes, device: str, threads: int
) -> Any:
    provider = provider_of(device)
    if provider not in ort.get_available_providers():
        raise ModelError(
            f"{device}: this onnxruntime ({ort.__version__}) has no {provider}: "
            "remove the package onnxruntime and install vidtag[gpu], which brings onnxruntime-gpu"
        )
    if provider == CUDA_PROVIDER:
        # The CUDA libraries of the nvidia-* wheels are not on the loader's path.
        ort.preload_dlls()
    try:
        session = ort.InferenceSession(
            source,
            _session_options(ort, threads),
            providers=[(provider, _provider_options(provider, device))],
            # Otherwise the library retries on the CPU by itself, and prints so to stdout.
            enable_fallback=0,
        )
    except errors as error:
        raise ModelError(f"onnxruntime cannot open {_name_of(source)} on {device}: {_one_line(error)}") from error
    loaded = session.get_providers()
    if loaded[0] != provider:
        raise ModelError(
            f"{device}: onnxruntime could not load {provider} and would run on {', '.join(loaded)}: "
            "check the NVIDIA driver with nvidia-smi and install vidtag[gpu], which brings CUDA and cuDNN"
        )
    return session


def _session_options(ort: ModuleType, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = _ERRORS_ONLY
    # Waiting threads would spin on the CPUs that the decoder needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def _provider_options(provider: str, device: str) -> dict[str, str]:
    if provider == CPU_PROVIDER:
        return {}
    return {
        "device_id": device.partition(":")[2] or "0",
        # TF32 keeps 10 bits of the mantissa; fp32 stays fp32 so that GPU and CPU agree.
        "use_tf32": "0",
        # The exhaustive search picks another algorithm on another day; the default one is always the same.
        "cudnn_conv_algo_search": "DEFAULT",
        # Grow by what is needed: doubling would hold memory that the gallery search wants.
        "arena_extend_strategy": "kSameAsRequested",
    }


def _nodes_by_provider(session: Any) -> dict[str, Counter[str]]:
    nodes: dict[str, Counter[str]] = {}
    for subgraph in session.get_provider_graph_assignment_info():
        nodes.setdefault(subgraph.ep_name, Counter()).update(node.op_type for node in subgraph.get_nodes())
    return nodes


def _name_of(source: str | bytes) -> str:
    return source if isinstance(source, str) else "a test graph"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
