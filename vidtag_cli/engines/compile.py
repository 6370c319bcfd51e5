"""Building engines ahead of time, for the GPU in this machine or for a kind of GPU that is not here."""

from __future__ import annotations

from dataclasses import dataclass

from vidtag_cli.bundle.load import ModelGraph
from vidtag_cli.engines.build_observer import BuildObserver
from vidtag_cli.engines.cuda_runtime import open_cuda
from vidtag_cli.engines.engine_build import BuildRequest
from vidtag_cli.engines.engine_files import ReadyEngine, engine_store, ready_engine
from vidtag_cli.engines.engine_key import BuildTarget, named_targets, target_named, target_of_gpu
from vidtag_cli.engines.profiles import profiles_of
from vidtag_cli.engines.tensorrt_library import TensorRtLibrary, import_tensorrt
from vidtag_cli.errors import ModelError, UsageError

REBUILD_ASKED = "a new build was asked for"


@dataclass(frozen=True, slots=True)
class CompiledGraph:
    """One engine in the cache: what it was built from and for, its size, and what its build took."""

    graph: str
    precision: str
    target: str
    file: str
    sha256: str
    size_bytes: int
    build_seconds: float
    peak_bytes: int
    is_new: bool


def targets_for(library: TensorRtLibrary, names: list[str], device: str = "cuda") -> list[BuildTarget]:
    """Return the targets that names such as ``sm89`` stand for; without names the GPU of this machine.

    Raises UsageError for a name the library does not know, ModelError when there is no GPU to build for.
    """
    if names:
        return [target_named(library, name) for name in dict.fromkeys(names)]
    try:
        return [target_of_gpu(library, open_cuda().find_gpu(device))]
    except ModelError as error:
        known = named_targets(library)
        if not known:
            raise ModelError(f"{library.name} builds on the GPU that will run the engine: {error}") from error
        raise UsageError(f"{error}; to build for another machine's GPU give --target, such as {known[-1]}") from error


def compile_graph(
    graph: ModelGraph,
    library_name: str,
    target: BuildTarget,
    *,
    window_frames: int,
    device: str = "cuda",
    threads: int | None = None,
    rebuild: bool = False,
    observer: BuildObserver | None = None,
) -> CompiledGraph:
    """Return the engine of a graph for a target, built and kept in the user's cache unless it is there already.

    ``device`` is the GPU whose target it is, where the library builds on the GPU that will run the engine.
    """
    library = import_tensorrt(library_name)
    if not library.names_targets:
        # Kernels are measured on the thread's current GPU, which is the first unless another is chosen.
        cuda = open_cuda()
        cuda.use_device(cuda.find_gpu(device).index)
    request = BuildRequest(library, graph, profiles_of(graph, window_frames), target, threads)
    ready = ready_engine(request, observer or BuildObserver(), engine_store(), REBUILD_ASKED if rebuild else "")
    return _summary(graph, target, ready)


def _summary(graph: ModelGraph, target: BuildTarget, ready: ReadyEngine) -> CompiledGraph:
    return CompiledGraph(
        graph=graph.name,
        precision=graph.precision,
        target=target.compute_capability,
        file=ready.file,
        sha256=ready.sha256,
        size_bytes=ready.size_bytes,
        build_seconds=ready.build_seconds,
        peak_bytes=ready.peak_bytes,
        is_new=ready.is_new,
    )
