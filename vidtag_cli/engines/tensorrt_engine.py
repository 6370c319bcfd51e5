"""Graphs on TensorRT's native interface: one runner for the modules ``tensorrt`` (10 and 11) and ``tensorrt_rtx``."""

from __future__ import annotations

import dataclasses
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from vidtag_cli.bundle.load import ModelGraph
from vidtag_cli.engines.build_observer import BuildObserver
from vidtag_cli.engines.cuda_runtime import CudaRuntime, open_cuda
from vidtag_cli.engines.engine_build import BuildRequest
from vidtag_cli.engines.engine_files import ReadyEngine, engine_store, ready_engine
from vidtag_cli.engines.engine_key import target_of_gpu
from vidtag_cli.engines.execution import ContextPool, RuntimeSettings
from vidtag_cli.engines.io_buffers import BufferSlot
from vidtag_cli.engines.profiles import profiles_of
from vidtag_cli.engines.tensorrt_library import import_tensorrt, open_part
from vidtag_cli.engines.tensors import check_inputs, check_outputs
from vidtag_cli.errors import ModelError, UsageError

SLOTS = 2
"""One call is copied while the GPU works on the other; a third would only wait longer."""


@dataclass(slots=True)
class _Ticket:
    """A part of a call that occupies a slot until its outputs are taken."""

    slot: int
    sizes: dict[str, int]
    rows: int
    outputs: dict[str, np.ndarray] | None = None


@dataclass(frozen=True, slots=True)
class PendingOutputs:
    """Outputs on their way from the GPU; ``result`` waits for them and returns them as :meth:`Engine.run` does."""

    result: Callable[[], dict[str, np.ndarray]]


class TensorRtEngine:
    """A graph as a TensorRT engine on an NVIDIA GPU, built at first use and kept in the user's cache."""

    def __init__(
        self,
        graph: ModelGraph,
        library_name: str,
        device: str = "cuda",
        *,
        threads: int | None = None,
        window_frames: int | None = None,
        observer: BuildObserver | None = None,
    ) -> None:
        """Open a graph on ``cuda`` or ``cuda:1``; ``threads`` limits the CPU threads of a build.

        Raises ModelError when library, GPU or engine cannot be had; nothing else is tried instead.
        """
        if threads is not None and threads < 1:
            raise UsageError(f"{threads} CPU threads: at least 1 is needed")
        self._graph, self._device, self._threads = graph, device, threads
        self._library = import_tensorrt(library_name)
        self._cuda = open_cuda()
        self._gpu = self._cuda.find_gpu(device)
        self._profiles = profiles_of(graph, window_frames)
        self._observer = observer or BuildObserver()
        self._turn = threading.Lock()
        self._cuda.use_device(self._gpu.index)
        self._load()
        self._prepare_runs()

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self.submit(inputs).result()

    def submit(self, inputs: Mapping[str, np.ndarray]) -> PendingOutputs:
        """Queue a run and return at once what will hold its outputs.

        The inputs are copied before this returns. While the GPU works on one call the next can be submitted: its copy
        overlaps with that work. More calls in flight than that wait for the oldest.
        """
        inputs = self._graph.feed(inputs)
        sizes = check_inputs(self._graph.name, self._graph.inputs, inputs)
        rows = sizes[self._profiles.batch_letter]
        with self._turn:
            self._cuda.use_device(self._gpu.index)
            most = self._profiles.most_rows
            parts = [slice(start, min(start + most, rows)) for start in range(0, rows, most)]
            tickets = [self._start(inputs, part, sizes) for part in parts]
        return PendingOutputs(partial(self._collect, tickets, sizes))

    def describe(self) -> dict[str, Any]:
        settings = self._settings
        return {
            "engine": self._library.name,
            "version": self._library.version,
            "device": self._device,
            "gpu": self._gpu.name,
            "compute_capability": "{}.{}".format(*self._gpu.compute_capability),
            "driver": self._gpu.driver,
            "graph": self._graph.name,
            "graph_sha256": self._graph.sha256,
            "precision": self._graph.precision,
            "threads": self._threads,
            "engine_sha256": self._file.sha256,
            "engine_key": self._file.key,
            "engine_built_now": self._file.is_new,
            "profiles": self._profiles.as_json(),
            "cuda_graphs": "by the library" if settings is not None else self._pool.captured_graphs,
            "scratch_bytes": self._pool.scratch.size if self._pool.scratch is not None else 0,
        }

    def close(self) -> None:
        """Give all GPU memory back; the engine cannot run any more."""
        with self._turn:
            self._cuda.use_device(self._gpu.index)
            for slot in range(SLOTS):
                self._finish(slot)
            self._give_back()

    def _load(self) -> None:
        """Deserialise the engine; one that the library itself refuses is built again, once."""
        store = engine_store()
        target = target_of_gpu(self._library, self._gpu)
        request = BuildRequest(self._library, self._graph, self._profiles, target, self._threads)
        file = ready_engine(request, self._observer, store)
        engine = self._deserialise(file)
        if engine is None and not file.is_new:
            reason = f"{self._library.name} refuses it ({self._library.log.reasons()})"
            file = ready_engine(request, self._observer, store, rebuild_because=reason)
            engine = self._deserialise(file)
        if engine is None:
            raise ModelError(
                f"{self._graph.name}: {self._library.name} {self._library.version} built an engine and refuses to "
                f"load it on {self._gpu.name}: {self._library.log.reasons()}"
            )
        self._engine, self._store = engine, store
        # Without its content, which is as large as the weights and is on the GPU now.
        self._file = dataclasses.replace(file, content=None)

    def _deserialise(self, file: ReadyEngine) -> Any:
        with self._library.log.cleared():
            self._runtime = open_part(self._library, "Runtime")
            return self._runtime.deserialize_cuda_engine(file.content)

    def _prepare_runs(self) -> None:
        """Make streams, contexts and buffers, which are given back when the engine is closed or forgotten."""
        with ExitStack() as resources:
            self._acquire_resources(resources)
            # The last to be called first. Not bound to this engine, which it would keep alive.
            resources.callback(_settle, self._cuda, (self._copy_stream, self._compute_stream))
            self._give_back = weakref.finalize(self, resources.pop_all().close)
            self._give_back.atexit = False  # the end of the process frees all, after the driver is gone
        self._occupied: list[_Ticket | None] = [None] * SLOTS
        self._next_slot = 0

    def _acquire_resources(self, resources: ExitStack) -> None:
        self._copy_stream, self._compute_stream = (self._acquire_stream(resources) for _ in range(2))
        # Before the contexts, for it holds the compiled kernels, which must outlive them.
        self._settings = None
        if self._library.names_targets:
            self._settings = RuntimeSettings(self._library, self._engine, self._file.key, self._gpu, self._store)
        config = None if self._settings is None else self._settings.config
        self._pool = ContextPool(
            self._library, self._cuda, self._engine, self._graph, self._profiles, self._compute_stream, config
        )
        resources.callback(_free_contexts, self._pool, self._settings)
        most = self._profiles.most_sizes()
        self._slots = []
        for _ in range(SLOTS):
            buffers = BufferSlot(self._cuda, self._graph.inputs, self._graph.outputs, most)
            resources.callback(buffers.free)
            self._slots.append(buffers)

    def _acquire_stream(self, resources: ExitStack) -> Any:
        stream = self._cuda.create_stream()
        resources.callback(self._cuda.destroy_stream, stream)
        return stream

    def _start(self, inputs: Mapping[str, np.ndarray], part: slice, sizes: dict[str, int]) -> _Ticket:
        slot, self._next_slot = self._next_slot, (self._next_slot + 1) % SLOTS
        self._finish(slot)
        rows = part.stop - part.start
        padded = {name: sizes[name] for name in self._profiles.most_sizes()}
        padded[self._profiles.batch_letter] = self._profiles.padded_rows(rows)
        self._profiles.serving(padded)
        buffers = self._slots[slot]
        buffers.fill(inputs, part, padded)
        buffers.upload(padded, self._copy_stream)
        self._cuda.make_stream_wait(self._compute_stream, buffers.uploaded)
        with self._library.log.cleared():
            is_first = self._pool.run(slot, buffers.addresses(), padded)
        buffers.download(padded, self._compute_stream)
        ticket = self._occupied[slot] = _Ticket(slot, padded, rows)
        if is_first and self._settings is not None:
            self._cuda.wait_for_event(buffers.finished)
            self._settings.save_kernels()
        return ticket

    def _finish(self, slot: int) -> None:
        """Take the outputs of the call that occupies a slot, if there is one."""
        ticket = self._occupied[slot]
        if ticket is not None:
            ticket.outputs = self._slots[slot].take(ticket.sizes, ticket.rows)
            self._occupied[slot] = None

    def _collect(self, tickets: list[_Ticket], sizes: dict[str, int]) -> dict[str, np.ndarray]:
        with self._turn:
            self._cuda.use_device(self._gpu.index)
            for ticket in tickets:
                if ticket.outputs is None:
                    self._finish(ticket.slot)
        parts = [ticket.outputs for ticket in tickets if ticket.outputs is not None]
        names = [tensor.name for tensor in self._graph.outputs]
        outputs = {n: parts[0][n] if len(parts) == 1 else np.concatenate([p[n] for p in parts]) for n in names}
        check_outputs(self._graph.name, self._graph.outputs, outputs, dict(sizes))
        return outputs


def _settle(cuda: CudaRuntime, streams: Iterable[Any]) -> None:
    """Wait for what is queued: nothing may be freed under a run.

    The current GPU stays what it is: a forgotten engine may end between any two calls of another one.
    """
    for stream in streams:
        cuda.wait_for_stream(stream)


def _free_contexts(pool: ContextPool, settings: RuntimeSettings | None) -> None:
    """Free the contexts; ``settings`` are only held until then, for their runtime cache must outlive the contexts."""
    pool.free()
