"""The engines by name: opening one, and which of them this machine can run."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from vidtag_cli.bundle.load import ModelGraph
from vidtag_cli.engines.base import Engine
from vidtag_cli.engines.onnxruntime_engine import OnnxRuntimeEngine, probe_device
from vidtag_cli.errors import ModelError

DEFAULT_ENGINE = "onnxruntime"

PLANNED_ENGINES = {
    "tensorrt": "tensorrt, part of vidtag[gpu]",
    "tensorrt_rtx": "tensorrt-rtx, part of vidtag[rtx]",
}
"""Engines whose runners come in a later version, by Python module, with the package that will bring the module."""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """Whether an engine runs here; ``reason`` says why not and what to do, and is empty when it does."""

    name: str
    device: str
    usable: bool
    reason: str


def open_engine(
    graph: ModelGraph, name: str = DEFAULT_ENGINE, device: str = "cpu", threads: int | None = None
) -> Engine:
    """Return a graph opened in an engine on a device: ``cpu``, ``cuda`` or ``cuda:1``.

    ``threads`` counts CPU threads, by default all this process may use. Raises ModelError when the engine cannot run
    here; no other engine or device is tried instead.
    """
    if name == "onnxruntime":
        return OnnxRuntimeEngine(graph, device, threads)
    if name in PLANNED_ENGINES:
        raise ModelError(f"{_why_not_yet(name)}; use --engine {DEFAULT_ENGINE}")
    raise ModelError(f"{name}: unknown engine; there are onnxruntime, {', '.join(PLANNED_ENGINES)}")


def available_engines() -> tuple[EngineStatus, ...]:
    """Return every engine with every kind of device, usable or not; libraries are really loaded to find out."""
    statuses = []
    for device in ("cpu", "cuda"):
        reason = probe_device(device)
        statuses.append(EngineStatus("onnxruntime", device, not reason, reason))
    statuses.extend(EngineStatus(name, "cuda", False, _why_not_yet(name)) for name in PLANNED_ENGINES)
    return tuple(statuses)


def _why_not_yet(name: str) -> str:
    is_installed = importlib.util.find_spec(name) is not None
    module = "is installed" if is_installed else f"is missing ({PLANNED_ENGINES[name]})"
    return f"{name}: this version of vidtag cannot run it yet; the Python module {name} {module}"
