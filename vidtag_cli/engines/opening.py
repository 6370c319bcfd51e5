"""The engines by name: opening one, and which of them this machine can run."""

from __future__ import annotations

from dataclasses import dataclass

from vidtag_cli.bundle.load import ModelGraph
from vidtag_cli.engines.base import Engine
from vidtag_cli.engines.build_observer import BuildObserver
from vidtag_cli.engines.cuda_runtime import open_cuda
from vidtag_cli.engines.engine_key import named_targets, target_of_gpu
from vidtag_cli.engines.onnxruntime_engine import OnnxRuntimeEngine
from vidtag_cli.engines.onnxruntime_session import probe_device
from vidtag_cli.engines.tensorrt_engine import TensorRtEngine
from vidtag_cli.engines.tensorrt_library import TENSORRT_PACKAGES, import_tensorrt
from vidtag_cli.errors import ModelError, UsageError

DEFAULT_ENGINE = "onnxruntime"

ENGINE_NAMES = ("onnxruntime", "onnxruntime_tensorrt", *TENSORRT_PACKAGES)
"""What ``--engine`` takes."""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """Whether an engine runs here; ``reason`` says why not and what to do, and is empty when it does.

    ``builds_for`` names the kinds of GPU for which engines can be built here, whether or not one can run.
    """

    name: str
    device: str
    usable: bool
    reason: str
    builds_for: tuple[str, ...] = ()


def check_engine(name: str) -> None:
    """Raise UsageError for a name that ``--engine`` does not take."""
    if name not in ENGINE_NAMES:
        raise UsageError(f"unknown engine {name!r}; there are {', '.join(ENGINE_NAMES)}")


def default_device(name: str) -> str:
    """Return where an engine runs unless told otherwise: ``onnxruntime`` on the CPU, all others on the first GPU."""
    return "cpu" if name == DEFAULT_ENGINE else "cuda"


def has_float64(name: str) -> bool:
    """Return whether an engine computes in float64: what ``ModelBundle.graphs_for`` needs to know."""
    return name == DEFAULT_ENGINE


def open_engine(
    graph: ModelGraph,
    name: str = DEFAULT_ENGINE,
    device: str | None = None,
    threads: int | None = None,
    *,
    window_frames: int | None = None,
    observer: BuildObserver | None = None,
) -> Engine:
    """Return a graph opened in an engine on a device: ``cpu``, ``cuda`` or ``cuda:1``, by default the engine's own.

    ``threads`` counts CPU threads, by default all this process may use. ``window_frames`` is the bundle's window, for
    which engines of TensorRT are tuned; ``observer`` hears about engines that are built at first use. Raises ModelError
    when the engine cannot run here, UsageError when there is none of that name; no other engine or device is tried
    instead.
    """
    check_engine(name)
    _check_name_is_text(graph)
    device = device or default_device(name)
    if name in ("onnxruntime", "onnxruntime_tensorrt"):
        with_tensorrt = name == "onnxruntime_tensorrt"
        return OnnxRuntimeEngine(graph, device, threads, with_tensorrt=with_tensorrt, window_frames=window_frames)
    return TensorRtEngine(graph, name, device, threads=threads, window_frames=window_frames, observer=observer)


def _check_name_is_text(graph: ModelGraph) -> None:
    """Raise ModelError for a file below a name that is no UTF-8: the libraries of the engines take text alone."""
    try:
        str(graph.path).encode()
    except UnicodeEncodeError as error:
        raise ModelError(
            f"{graph.path}: engines open no file below a folder whose name is not UTF-8: rename that folder"
        ) from error


def available_engines() -> tuple[EngineStatus, ...]:
    """Return every engine with every kind of device, usable or not; libraries are really loaded to find out."""
    statuses = []
    for name, device in (("onnxruntime", "cpu"), ("onnxruntime", "cuda"), ("onnxruntime_tensorrt", "cuda")):
        reason = probe_device(device, with_tensorrt=name == "onnxruntime_tensorrt")
        statuses.append(EngineStatus(name, device, not reason, reason))
    return (*statuses, *(_tensorrt_status(name) for name in TENSORRT_PACKAGES))


def _tensorrt_status(name: str) -> EngineStatus:
    try:
        library = import_tensorrt(name)
    except ModelError as error:
        return EngineStatus(name, "cuda", False, str(error))
    targets = named_targets(library)
    try:
        target_of_gpu(library, open_cuda().find_gpu("cuda"))
    except ModelError as error:
        return EngineStatus(name, "cuda", False, str(error), targets)
    return EngineStatus(name, "cuda", True, "", targets)
