"""What ONNX Runtime is asked for, on the CPU, with CUDA and with TensorRT, and whether it took it."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from vidtag_cli.bundle.load import ModelGraph
from vidtag_cli.engines.profiles import filled_shape, profiles_of
from vidtag_cli.engines.tensorrt_library import import_tensorrt
from vidtag_cli.errors import ModelError

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"
TENSORRT_PROVIDER = "TensorrtExecutionProvider"

ProviderOptions = dict[str, str]

SESSION_ENTRIES = {
    # Threads spin between the operators of a run, which waking them for each would slow by a twentieth, and never
    # between runs, where they would take the CPUs that the decoder needs.
    "session.intra_op.allow_spinning": "1",
    "session.force_spinning_stop": "1",
    "session.load_model_format": "ONNX",
    "session.record_ep_graph_assignment_info": "1",
}
"""Settings of a session that have no attribute of their own; each is read back."""

TF32_VARIABLE = "NVIDIA_TF32_OVERRIDE"
"""Read by NVIDIA's libraries when they start: 0 turns TF32 off in all of them. The TensorRT provider has no option for
it (https://github.com/microsoft/onnxruntime/issues/26029).
"""

_ERRORS_ONLY = 3

_logger = logging.getLogger(__name__)


def provider_of(device: str, with_tensorrt: bool = False) -> str:
    """Return the provider that serves a device; raises ModelError for a device that does not exist."""
    kind, _, index = device.partition(":")
    if device == "cpu" and with_tensorrt:
        raise ModelError("cpu: TensorRT runs on NVIDIA GPUs only: give --device cuda or cuda:1")
    if device == "cpu":
        return CPU_PROVIDER
    if kind == "cuda" and (device == "cuda" or index.isdecimal()):
        return TENSORRT_PROVIDER if with_tensorrt else CUDA_PROVIDER
    raise ModelError(f"{device}: unknown device for onnxruntime; use cpu, cuda or cuda:1")


def session_options(ort: ModuleType, threads: int) -> Any:
    """Return the options of a session: deterministic, one thing after another, on a number of threads.

    Memory comes from one arena, and shapes seen before get their memory in one piece. Weights in files of their own
    are mapped into memory by the library, and let go once it has packed them for its kernels.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.enable_cpu_mem_arena = True
    options.enable_mem_pattern = True
    options.log_severity_level = _ERRORS_ONLY
    for key, value in SESSION_ENTRIES.items():
        options.add_session_config_entry(key, value)
    return options


def provider_options(
    provider: str, device: str, graph: ModelGraph | None, window_frames: int | None = None
) -> list[tuple[str, ProviderOptions]]:
    """Return the providers to ask for, in order, each with its options; without a graph those for any graph.

    TensorRT has CUDA behind it for the arithmetic of shapes, which it leaves to others.
    """
    if provider == CPU_PROVIDER:
        return [(CPU_PROVIDER, {})]
    device_id = device.partition(":")[2] or "0"
    cuda = {
        "device_id": device_id,
        # TF32 keeps 10 bits of the mantissa; fp32 stays fp32 so that GPU and CPU agree.
        "use_tf32": "0",
        # The exhaustive search picks another algorithm on another day; the default one is always the same.
        "cudnn_conv_algo_search": "DEFAULT",
        # Grow by what is needed: doubling would hold memory that the gallery search wants.
        "arena_extend_strategy": "kSameAsRequested",
    }
    if provider == CUDA_PROVIDER:
        return [(CUDA_PROVIDER, cuda)]
    tensorrt = {
        "device_id": device_id,
        # This provider takes no other spelling of a switch than True and False, and reports 1 and 0.
        # Precision is decided in the graph.
        "trt_fp16_enable": "False",
        "trt_int8_enable": "False",
        # The provider would load any engine it finds in its cache folder; only those of --engine tensorrt are sealed.
        "trt_engine_cache_enable": "False",
        "trt_timing_cache_enable": "False",
    }
    return [(TENSORRT_PROVIDER, tensorrt | _profile_options(graph, window_frames)), (CUDA_PROVIDER, cuda)]


def check_options(
    session: Any, requested: list[tuple[str, ProviderOptions]], threads: int, what: str, version: str
) -> None:
    """Raise ModelError unless a session reports every option with the value that was asked for."""
    reported = session.get_provider_options()
    for provider, options in requested:
        for key, value in options.items():
            value_in_use = reported.get(provider, {}).get(key)
            if value_in_use is None or _spelled(value_in_use) != _spelled(value):
                raise ModelError(
                    f"{what}: onnxruntime {version} did not take {key}={value} for {provider} "
                    f"(it says {value_in_use}): install another version of onnxruntime-gpu"
                )
    settings = session.get_session_options()
    entries = {key: settings.get_session_config_entry(key) for key in SESSION_ENTRIES}
    if settings.intra_op_num_threads != threads or not settings.use_deterministic_compute or entries != SESSION_ENTRIES:
        raise ModelError(f"{what}: onnxruntime {version} changed the options of the session: {entries}")


def load_cuda_libraries(ort: ModuleType) -> None:
    """Load the CUDA libraries of the nvidia-* wheels, which are not on the loader's path.

    The library prints what it did not find to stdout, which belongs to the results; it becomes log records.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        ort.preload_dlls()
    for line in printed.getvalue().splitlines():
        _logger.debug("onnxruntime: %s", line)


def load_tensorrt_libraries(ort_version: str) -> str:
    """Load the TensorRT libraries of the ``tensorrt`` wheel, which are not on the loader's path; return the version.

    TF32 is turned off for this process, as everywhere: it keeps 10 bits of the mantissa. This must come before any
    NVIDIA library is loaded. Raises ModelError when there is no TensorRT.
    """
    os.environ[TF32_VARIABLE] = "0"
    try:
        return import_tensorrt("tensorrt").version
    except ModelError as error:
        raise ModelError(
            f"onnxruntime {ort_version}: its TensorRT provider needs the libraries of TensorRT: {error}"
        ) from error


def _profile_options(graph: ModelGraph | None, window_frames: int | None) -> ProviderOptions:
    """Return the profile of a graph in the provider's spelling: ``name:1x2,other:1x3``.

    It is one only: of several the provider builds all and uses the first, so that larger batches would fail
    (https://github.com/microsoft/onnxruntime/pull/31624).
    """
    if graph is None:
        return {}
    (profile,) = profiles_of(graph, window_frames).as_one().profiles
    shapes = {}
    for key, bound in (("min", "least"), ("opt", "best"), ("max", "most")):
        sizes = {letter: getattr(size_range, bound) for letter, size_range in profile.items()}
        texts = [f"{tensor.name}:{'x'.join(map(str, filled_shape(tensor.shape, sizes)))}" for tensor in graph.inputs]
        shapes[f"trt_profile_{key}_shapes"] = ",".join(texts)
    return shapes


def _spelled(value: object) -> str:
    """Return a value as text; the library may write ``0`` where it was given ``false``."""
    text = str(value).lower()
    return {"false": "0", "true": "1"}.get(text, text)


def nodes_elsewhere(nodes: Mapping[str, Mapping[str, int]], provider: str, operators: frozenset[str]) -> dict[str, str]:
    """Return which of some operators run on another provider than the one asked for."""
    return {
        operator: other
        for other, counts in nodes.items()
        if other != provider
        for operator in sorted(operators & set(counts))
    }
