"""Memory for the tensors of a graph: pinned on the host and on the GPU, allocated once at the largest size."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidtag_cli.bundle.contract import TensorContract
from vidtag_cli.engines.cuda_runtime import CudaRuntime
from vidtag_cli.engines.profiles import filled_shape


class DeviceMemory:
    """Bytes on the GPU, freed with the object."""

    def __init__(self, cuda: CudaRuntime, size: int) -> None:
        self.address = cuda.allocate(size)
        self.size = size
        self._free = weakref.finalize(self, cuda.free, self.address)
        self._free.atexit = False  # the end of the process frees it, after the driver is gone

    def free(self) -> None:
        self._free()


class PinnedMemory:
    """Bytes on the host that copies to and from the GPU need not go round through the driver, freed with the object."""

    def __init__(self, cuda: CudaRuntime, size: int) -> None:
        self.address = cuda.allocate_pinned(size)
        self.size = size
        self._free = weakref.finalize(self, cuda.free_pinned, self.address)
        self._free.atexit = False

    def view(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """Return the first bytes as an array; it must not outlive this object."""
        count = int(np.prod(shape))
        raw = (ctypes.c_uint8 * (count * np.dtype(dtype).itemsize)).from_address(self.address)
        return np.ctypeslib.as_array(raw).view(dtype).reshape(shape)

    def free(self) -> None:
        self._free()


@dataclass(frozen=True, slots=True)
class TensorBuffer:
    """One tensor of the contract on both sides."""

    tensor: TensorContract
    pinned: PinnedMemory
    device: DeviceMemory

    def view(self, sizes: Mapping[str, int]) -> np.ndarray:
        """Return the pinned side as an array of the tensor's shape for the sizes of its letters."""
        return self.pinned.view(filled_shape(self.tensor.shape, sizes), self.tensor.dtype)


class BufferSlot:
    """The buffers of one call on its way: with two of them one is filled while the GPU works on the other.

    ``uploaded`` and ``finished`` are the events that order the streams and the host.
    """

    def __init__(
        self,
        cuda: CudaRuntime,
        inputs: Iterable[TensorContract],
        outputs: Iterable[TensorContract],
        most_sizes: Mapping[str, int],
    ) -> None:
        self.inputs = [_allocate(cuda, tensor, most_sizes) for tensor in inputs]
        self.outputs = [_allocate(cuda, tensor, most_sizes) for tensor in outputs]
        self.uploaded: Any = cuda.create_event()
        self.finished: Any = cuda.create_event()
        self._cuda = cuda

    def addresses(self) -> dict[str, int]:
        """Return the device address of every tensor by its name."""
        return {buffer.tensor.name: buffer.device.address for buffer in (*self.inputs, *self.outputs)}

    def fill(self, arrays: Mapping[str, np.ndarray], rows: slice, sizes: Mapping[str, int]) -> None:
        """Copy rows of the inputs into the pinned buffers and zeros into the rows that only fill up the batch."""
        for buffer in self.inputs:
            part = arrays[buffer.tensor.name][rows]
            view = buffer.view(sizes)
            view[: len(part)] = part
            view[len(part) :] = 0

    def upload(self, sizes: Mapping[str, int], stream: Any) -> None:
        """Queue the copies of the inputs to the GPU and the event that says they are there."""
        for buffer in self.inputs:
            size = buffer.view(sizes).nbytes
            self._cuda.copy_to_device(buffer.device.address, buffer.pinned.address, size, stream)
        self._cuda.record(self.uploaded, stream)

    def download(self, sizes: Mapping[str, int], stream: Any) -> None:
        """Queue the copies of the outputs to the host and the event that says they are there."""
        for buffer in self.outputs:
            size = buffer.view(sizes).nbytes
            self._cuda.copy_to_host(buffer.pinned.address, buffer.device.address, size, stream)
        self._cuda.record(self.finished, stream)

    def take(self, sizes: Mapping[str, int], rows: int) -> dict[str, np.ndarray]:
        """Wait for the outputs and return the first rows of each, as arrays of their own."""
        self._cuda.wait_for_event(self.finished)
        return {buffer.tensor.name: buffer.view(sizes)[:rows].copy() for buffer in self.outputs}

    def free(self) -> None:
        for buffer in (*self.inputs, *self.outputs):
            buffer.pinned.free()
            buffer.device.free()
        self._cuda.destroy_event(self.uploaded)
        self._cuda.destroy_event(self.finished)


def _allocate(cuda: CudaRuntime, tensor: TensorContract, most_sizes: Mapping[str, int]) -> TensorBuffer:
    size = int(np.prod(filled_shape(tensor.shape, most_sizes))) * np.dtype(tensor.dtype).itemsize
    return TensorBuffer(tensor, PinnedMemory(cuda, size), DeviceMemory(cuda, size))
