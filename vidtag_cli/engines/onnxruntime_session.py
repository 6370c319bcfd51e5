"""The onnxruntime module, imported so that it sends nothing and prints nothing, and sessions on one device or none."""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Any

from vidtag_cli.engines.onnxruntime_providers import (
    CPU_PROVIDER,
    TENSORRT_PROVIDER,
    ProviderOptions,
    check_options,
    load_cuda_libraries,
    load_tensorrt_libraries,
    provider_of,
    provider_options,
    session_options,
)
from vidtag_cli.errors import ModelError

TELEMETRY_OFF_VARIABLE = "ORT_DISABLE_TELEMETRY"
"""Read by the library when it is loaded: set to 1, it makes no device id, no cache file and no upload."""

CONFIG_FROM_MODEL_VARIABLE = "ORT_LOAD_CONFIG_FROM_MODEL"
"""When set, the library takes session options from a model's metadata; ours are the only ones."""

_LOG_ERRORS_ONLY = 3

_OTHER_TENSORRT = (
    "onnxruntime may be built for another: the releases so far want 10, which pip install 'tensorrt<11' brings, "
    "and only --engine tensorrt takes 11 too"
)

_IDENTITY_GRAPH = (
    b'\x08\x08:A\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x14\n\x01x\x12\x0f\n\r\x08\x01\x12\t\n\x03\x12\x01N\n\x02'
    b"\x08\x03b\x14\n\x01y\x12\x0f\n\r\x08\x01\x12\t\n\x03\x12\x01N\n\x02\x08\x03B\x04\n\x00\x10\x11"
)
"""The smallest graph, y = x: opening it shows whether the libraries of a provider load; its name in a list does not."""


def import_onnxruntime() -> ModuleType:
    """Return the onnxruntime module.

    Its official builds report usage to their maker over the network and leave a device id in the user's cache folder
    from the moment of the import. Evidence work must do neither, so the switch is set first, whatever the environment
    says. Raises ModelError when the package is not installed.
    """
    os.environ[TELEMETRY_OFF_VARIABLE] = "1"
    os.environ.pop(CONFIG_FROM_MODEL_VARIABLE, None)
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ModelError(
            f"onnxruntime cannot be imported ({error}): install vidtag-geo[cpu], or vidtag-geo[gpu] for an NVIDIA GPU"
        ) from error
    # The variable does not reach builds that report through the Windows event log; this call does.
    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(_LOG_ERRORS_ONLY)
    return onnxruntime


def onnxruntime_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that onnxruntime raises; they share no base class of their own."""
    bindings = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    own = [value for value in vars(bindings).values() if isinstance(value, type) and issubclass(value, Exception)]
    return (*own, RuntimeError, ValueError)


def open_inference_session(
    ort: ModuleType,
    errors: tuple[type[Exception], ...],
    source: str | bytes,
    device: str,
    requested: list[tuple[str, ProviderOptions]],
    threads: int,
) -> Any:
    """Return an ONNX Runtime session of a graph, a file or its bytes, on the device that was asked for.

    ``requested`` holds the providers with their options in order. Raises ModelError when the first of them cannot be
    had, an option is not taken or the graph cannot be opened; the library is not let retreat to another device.
    """
    provider = requested[0][0]
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
        session = ort.InferenceSession(source, session_options(ort, threads), providers=requested, enable_fallback=0)
    except errors as error:
        reason = one_line(error)
        # So it says both when libraries are missing and when they are those of another TensorRT.
        why = reason + hint if "install TensorRT" in reason else reason
        raise ModelError(f"onnxruntime cannot open {_name_of(source)} on {device}: {why}") from error
    loaded = session.get_providers()
    if loaded[0] != provider:
        raise ModelError(
            f"{device}: onnxruntime could not load {provider}{hint} and would run on {', '.join(loaded)}: "
            "check the NVIDIA driver with nvidia-smi and install vidtag-geo[gpu], which brings CUDA and cuDNN"
        )
    check_options(session, requested, threads, _name_of(source), ort.__version__)
    return session


def probe_device(device: str, with_tensorrt: bool = False) -> str:
    """Return why a device cannot be used here, or an empty text when a tiny graph opened on it."""
    try:
        ort = import_onnxruntime()
        requested = provider_options(provider_of(device, with_tensorrt), device, None)
        open_inference_session(ort, onnxruntime_errors(), _IDENTITY_GRAPH, device, requested, threads=1)
    except ModelError as error:
        return str(error)
    return ""


def one_line(error: Exception) -> str:
    """Return what an error of the library says, without its line breaks."""
    return " ".join(str(error).split())


def _name_of(source: str | bytes) -> str:
    return source if isinstance(source, str) else "a test graph"
