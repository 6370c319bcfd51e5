"""What every engine can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np


class Engine(Protocol):
    """One graph, loaded and ready on one device."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the graph's outputs by name.

        Inputs are given by name with the dtypes and shapes of the graph's contract; letters such as ``N`` are free at
        each call. Where the file takes float64 in two parts, the engine splits them. Raises ModelError when an input
        does not fit, the engine fails or an output is not finite.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Return what really runs, for the report: engine, version, device, precision, threads, options read back."""
        ...
