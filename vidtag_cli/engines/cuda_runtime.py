"""The CUDA runtime: memory, streams, events and graphs, with every return code checked."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from vidtag_cli.errors import ModelError

CUDA_PACKAGE = "cuda-bindings, part of vidtag-geo[gpu] and vidtag-geo[rtx]"
DRIVER_FILE = Path("/proc/driver/nvidia/version")

_OUT_OF_MEMORY = "cudaErrorMemoryAllocation"


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU of this machine; ``driver`` is the version of the driver and of the CUDA that it supports."""

    index: int
    name: str
    compute_capability: tuple[int, int]
    driver: str
    memory_bytes: int


class CudaRuntime:
    """The calls that a runner needs; addresses, streams, events and graphs are plain handles."""

    def __init__(self, bindings: ModuleType) -> None:
        self._cuda = bindings

    def find_gpu(self, device: str) -> Gpu:
        """Return the GPU that ``cuda`` or ``cuda:1`` names; raises ModelError when there is none."""
        kind, _, text = device.partition(":")
        if kind != "cuda" or (text and not text.isdecimal()) or device == "cuda:":
            raise ModelError(f"{device}: TensorRT runs on NVIDIA GPUs only: give --device cuda or cuda:1")
        index = int(text or 0)
        count = self._call("cudaGetDeviceCount")
        if index >= count:
            raise ModelError(f"{device}: this machine has {count} usable GPU(s), counted from cuda:0")
        properties = self._call("cudaGetDeviceProperties", index)
        name = properties.name.decode("utf-8", "replace").strip("\0")
        driver = _driver_version(self._call("cudaDriverGetVersion"))
        capability = (properties.major, properties.minor)
        return Gpu(index, name, capability, driver, properties.totalGlobalMem)

    def use_device(self, index: int) -> None:
        """Make a GPU the current one of this thread; each thread has its own."""
        self._call("cudaSetDevice", index)

    def allocate(self, size: int) -> int:
        return int(self._call("cudaMalloc", size))

    def free(self, address: int) -> None:
        self._call("cudaFree", address)

    def allocate_pinned(self, size: int) -> int:
        """Return the address of host memory that the GPU can read by itself, without a copy through the driver."""
        return int(self._call("cudaHostAlloc", size, self._cuda.cudaHostAllocDefault))

    def free_pinned(self, address: int) -> None:
        self._call("cudaFreeHost", address)

    def copy_to_device(self, target: int, source: int, size: int, stream: Any) -> None:
        self._call("cudaMemcpyAsync", target, source, size, self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice, stream)

    def copy_to_host(self, target: int, source: int, size: int, stream: Any) -> None:
        self._call("cudaMemcpyAsync", target, source, size, self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost, stream)

    def create_stream(self) -> Any:
        return self._call("cudaStreamCreateWithFlags", self._cuda.cudaStreamNonBlocking)

    def destroy_stream(self, stream: Any) -> None:
        self._call("cudaStreamDestroy", stream)

    def wait_for_stream(self, stream: Any) -> None:
        self._call("cudaStreamSynchronize", stream)

    def create_event(self) -> Any:
        return self._call("cudaEventCreateWithFlags", self._cuda.cudaEventDisableTiming)

    def destroy_event(self, event: Any) -> None:
        self._call("cudaEventDestroy", event)

    def record(self, event: Any, stream: Any) -> None:
        self._call("cudaEventRecord", event, stream)

    def make_stream_wait(self, stream: Any, event: Any) -> None:
        """Let what is queued on a stream from now on wait for an event; the host does not wait."""
        self._call("cudaStreamWaitEvent", stream, event, 0)

    def wait_for_event(self, event: Any) -> None:
        self._call("cudaEventSynchronize", event)

    def begin_capture(self, stream: Any) -> None:
        # Thread-local: an allocation in another thread, by another engine, does not spoil the capture.
        self._call("cudaStreamBeginCapture", stream, self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)

    def end_capture(self, stream: Any) -> Any:
        """Return the graph captured since :meth:`begin_capture`, ready to launch."""
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            return self._call("cudaGraphInstantiate", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def abandon_capture(self, stream: Any) -> None:
        """End a capture in which something failed; the stream can be used again."""
        status, *graphs = self._cuda.cudaStreamEndCapture(stream)
        # Else it reports the failure that is being handled.
        if status == self._cuda.cudaError_t.cudaSuccess:
            self._call("cudaGraphDestroy", *graphs)

    def launch(self, executable: Any, stream: Any) -> None:
        self._call("cudaGraphLaunch", executable, stream)

    def destroy_graph(self, executable: Any) -> None:
        self._call("cudaGraphExecDestroy", executable)

    def _call(self, function: str, *arguments: Any) -> Any:
        status, *results = getattr(self._cuda, function)(*arguments)
        if status != self._cuda.cudaError_t.cudaSuccess:
            raise ModelError(self._explain(function, status))
        return results[0] if results else None

    def _explain(self, function: str, status: Any) -> str:
        _, text = self._cuda.cudaGetErrorString(status)
        message = f"{function} failed with {status.name}: {text.decode('utf-8', 'replace')}"
        if status.name == _OUT_OF_MEMORY:
            return f"{message}; use a smaller batch, or end other programs that use the GPU"
        return f"{message}; check the NVIDIA driver with nvidia-smi"


@lru_cache(maxsize=1)
def open_cuda() -> CudaRuntime:
    """Return the CUDA runtime; raises ModelError when its Python package is missing."""
    try:
        bindings = importlib.import_module("cuda.bindings.runtime")
    except (ImportError, OSError) as error:
        raise ModelError(f"the CUDA runtime cannot be imported ({error}): install {CUDA_PACKAGE}") from error
    return CudaRuntime(bindings)


def _driver_version(cuda_version: int) -> str:
    """Return what identifies the driver, such as ``CUDA 13.0, NVRM version: ... 580.65.06 ...``."""
    text = f"CUDA {cuda_version // 1000}.{cuda_version % 1000 // 10}"
    try:
        first_line = DRIVER_FILE.read_text("utf-8", "replace").partition("\n")[0]
    except OSError:
        return text
    return f"{text}, {' '.join(first_line.split())}"
