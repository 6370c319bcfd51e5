"""What only ``tensorrt_rtx`` has: kernels are compiled on the GPU that runs them, and kept from one run to the next."""

from __future__ import annotations

import hashlib
from typing import Any

from vidtag_cli.engines.cuda_runtime import Gpu
from vidtag_cli.engines.engine_key import digest_of
from vidtag_cli.engines.sealed_store import SealedFile, SealedStore
from vidtag_cli.engines.tensorrt_library import TensorRtLibrary
from vidtag_cli.errors import ModelError

KERNELS_SUFFIX = ".kernels"


class RuntimeSettings:
    """The runtime configuration of one engine, with the kernels compiled by earlier runs."""

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
        found = store.load(self._name)
        self.loaded_kernels = isinstance(found, SealedFile) and bool(self._kernels.deserialize(found.content))
        if not self.config.set_runtime_cache(self._kernels):
            raise ModelError(
                f"{library.name} {library.version} on {gpu.name} did not take a cache for the kernels it compiles: "
                f"{library.log.reasons()}"
            )
        self._saved_sha256 = found.sha256 if isinstance(found, SealedFile) else ""

    def save_kernels(self) -> None:
        """Keep the kernels compiled so far, if there are new ones."""
        content = memoryview(self._kernels.serialize())
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != self._saved_sha256:
            self._saved_sha256 = self._store.save(self._name, content, {})
