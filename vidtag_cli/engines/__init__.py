"""Running the graphs of a model: one small interface, several implementations."""

from __future__ import annotations

from vidtag_cli.engines.base import Engine
from vidtag_cli.engines.registry import EngineStatus, available_engines, open_engine

__all__ = ["Engine", "EngineStatus", "available_engines", "open_engine"]
