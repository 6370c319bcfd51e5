"""Running the graphs of a model: one small interface, several implementations."""

from __future__ import annotations

from vidtag_cli.engines.base import Engine
from vidtag_cli.engines.build_observer import BuildObserver
from vidtag_cli.engines.opening import (
    ENGINE_NAMES,
    EngineStatus,
    available_engines,
    default_device,
    has_float64,
    open_engine,
)

__all__ = [
    "ENGINE_NAMES",
    "BuildObserver",
    "Engine",
    "EngineStatus",
    "available_engines",
    "default_device",
    "has_float64",
    "open_engine",
]
