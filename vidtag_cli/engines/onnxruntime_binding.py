"""Inputs and outputs of an ONNX Runtime session bound to memory of the device, once per shape."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from vidtag_cli.bundle.load import ModelGraph
from vidtag_cli.engines.profiles import filled_shape

MAX_BOUND_SHAPES = 8
"""Shapes whose memory is kept; a pipeline uses two or three, and each holds its inputs and outputs on the device."""


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
