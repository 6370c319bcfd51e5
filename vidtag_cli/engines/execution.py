"""Execution contexts of a TensorRT engine: bound to shapes and addresses once, captured as CUDA graphs, replayed.

``tensorrt_rtx`` compiles its kernels on the GPU that runs them: they are kept from one run to the next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vidtag_cli.bundle.load import ModelGraph
from vidtag_cli.engines.cuda_runtime import CudaRuntime, Gpu
from vidtag_cli.engines.engine_key import digest_of
from vidtag_cli.engines.io_buffers import DeviceMemory
from vidtag_cli.engines.profiles import ProfileSet, filled_shape
from vidtag_cli.engines.sealed_store import SealedFile, SealedStore
from vidtag_cli.engines.tensorrt_library import TensorRtLibrary
from vidtag_cli.errors import ModelError

KERNELS_SUFFIX = ".kernels"

_GRAPHED_RUN = 2
"""The first run of a context does postponed work that must not be captured (NVIDIA's advice on CUDA graphs)."""


@dataclass(slots=True)
class BoundContext:
    """An execution context with a profile; ``sizes`` are those it is bound to, empty when it takes any."""

    context: Any
    profile: int
    sizes: dict[str, int]
    runs: int = 0
    captured: Any = None


@dataclass(slots=True)
class ContextPool:
    """The contexts of one engine. All share one piece of scratch memory, for they run one after the other.

    A captured graph is only valid while its context is left alone, so every usual shape of every buffer slot has a
    context of its own; rare shapes (a clip shorter than the window) share one that is bound anew at each call.
    """

    library: TensorRtLibrary
    cuda: CudaRuntime
    engine: Any
    graph: ModelGraph
    profiles: ProfileSet
    stream: Any
    runtime_config: Any = None
    scratch: DeviceMemory | None = None
    contexts: dict[tuple[int, int, tuple[tuple[str, int], ...]], BoundContext] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = int(self.engine.device_memory_size_v2)
        self.scratch = DeviceMemory(self.cuda, size) if size else None

    def run(self, slot: int, addresses: Mapping[str, int], sizes: dict[str, int]) -> bool:
        """Queue one run on the stream; return whether it was the first of its context."""
        usual = self.profiles.is_usual(sizes)
        bound = self._context(slot, sizes if usual else {}, self.profiles.serving(sizes))
        if not bound.runs or not usual:
            self._bind(bound, addresses, sizes)
        if bound.captured is not None:
            self.cuda.launch(bound.captured, self.stream)
        elif usual and self.captures_graphs and bound.runs + 1 == _GRAPHED_RUN:
            bound.captured = self._capture(bound)
            self.cuda.launch(bound.captured, self.stream)
        else:
            self._enqueue(bound)
        bound.runs += 1  # only now: after a failure the next run is a first one again
        return bound.runs == 1

    @property
    def captures_graphs(self) -> bool:
        """Whether CUDA graphs are captured here; ``tensorrt_rtx`` does so itself (see :class:`RuntimeSettings`)."""
        return self.runtime_config is None

    @property
    def captured_graphs(self) -> int:
        return sum(bound.captured is not None for bound in self.contexts.values())

    def free(self) -> None:
        for bound in self.contexts.values():
            if bound.captured is not None:
                self.cuda.destroy_graph(bound.captured)
        self.contexts.clear()
        if self.scratch is not None:
            self.scratch.free()

    def _context(self, slot: int, sizes: dict[str, int], profile: int) -> BoundContext:
        key = (slot, profile, tuple(sorted(sizes.items())))
        if key not in self.contexts:
            self.contexts[key] = BoundContext(self._create(profile), profile, sizes)
        return self.contexts[key]

    def _create(self, profile: int) -> Any:
        if self.runtime_config is not None:
            context = self.engine.create_execution_context(self.runtime_config)
        else:
            strategy = self.library.module.ExecutionContextAllocationStrategy.USER_MANAGED
            context = self.engine.create_execution_context(strategy)
        if context is None:
            raise self._error("no execution context")
        if self.scratch is not None:
            context.set_device_memory(self.scratch.address, self.scratch.size)
        if not context.set_optimization_profile_async(profile, self.stream):
            raise self._error(f"profile {profile} was refused")
        return context

    def _bind(self, bound: BoundContext, addresses: Mapping[str, int], sizes: dict[str, int]) -> None:
        for tensor in self.graph.inputs:
            if not bound.context.set_input_shape(tensor.name, filled_shape(tensor.shape, sizes)):
                raise self._error(f"the shape of {tensor.name} for {sizes} was refused")
        for name, address in addresses.items():
            if not bound.context.set_tensor_address(name, address):
                raise self._error(f"the address of {name} was refused")
        for tensor in self.graph.outputs:
            shape, expected = tuple(bound.context.get_tensor_shape(tensor.name)), filled_shape(tensor.shape, sizes)
            if shape != expected:
                raise self._error(f"output {tensor.name} would have the shape {shape}, the bundle promises {expected}")

    def _capture(self, bound: BoundContext) -> Any:
        self.cuda.begin_capture(self.stream)
        try:
            self._enqueue(bound)
        except BaseException:  # also Ctrl-C: whatever is queued on a stream that is left capturing never runs
            self.cuda.abandon_capture(self.stream)
            raise
        return self.cuda.end_capture(self.stream)

    def _enqueue(self, bound: BoundContext) -> None:
        if not bound.context.execute_async_v3(int(self.stream)):
            raise self._error("a run failed")

    def _error(self, what: str) -> ModelError:
        library = self.library
        return ModelError(f"{self.graph.name}: {library.name} {library.version}: {what}: {library.log.reasons()}")


class RuntimeSettings:
    """The runtime configuration of one engine of ``tensorrt_rtx``, with the kernels compiled by earlier runs."""

    def __init__(self, library: TensorRtLibrary, engine: Any, engine_key: str, gpu: Gpu, store: SealedStore) -> None:
        trt = library.module
        self._store = store
        facts = {"engine": engine_key, "gpu": gpu.name, "driver": gpu.driver, "library_version": library.version}
        self._name = digest_of(facts) + KERNELS_SUFFIX
        self.config = engine.create_runtime_config()
        self.config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        # Lazily, kernels would be exchanged for faster ones in the middle of a video: other rounding, another answer.
        self.config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        self.config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self._kernels = self.config.create_runtime_cache()
        stored = store.load(self._name)
        self.loaded_kernels = isinstance(stored, SealedFile) and bool(self._kernels.deserialize(stored.content))
        if not self.config.set_runtime_cache(self._kernels):
            raise ModelError(
                f"{library.name} {library.version} on {gpu.name} did not take a cache for the kernels it compiles: "
                f"{library.log.reasons()}"
            )
        self._saved_sha256 = stored.sha256 if isinstance(stored, SealedFile) else ""

    def save_kernels(self) -> None:
        """Keep the kernels compiled so far, if there are new ones."""
        content = memoryview(self._kernels.serialize())
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != self._saved_sha256:
            self._saved_sha256 = self._store.save(self._name, content, {})
