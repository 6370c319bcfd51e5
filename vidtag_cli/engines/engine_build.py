"""Turning an ONNX graph into a TensorRT engine: strongly typed, with the profiles of the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vidtag_cli.bundle.contract import TensorContract
from vidtag_cli.bundle.load import ModelGraph
from vidtag_cli.engines.build_observer import BuildObserver, progress_monitor
from vidtag_cli.engines.engine_key import TF32, BuildTarget
from vidtag_cli.engines.profiles import ProfileSet, filled_shape
from vidtag_cli.engines.tensorrt_library import TensorRtLibrary, library_logger, open_part
from vidtag_cli.errors import ModelError


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One engine to build."""

    library: TensorRtLibrary
    graph: ModelGraph
    profiles: ProfileSet
    target: BuildTarget
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """A serialised engine, and the measurements of kernels worth keeping for the next build (None: the library has
    none).
    """

    content: Any
    timing_cache: bytes | None


def build_engine(request: BuildRequest, observer: BuildObserver, timing_cache: bytes = b"") -> BuiltEngine:
    """Return a serialised engine of a graph.

    Raises ModelError that names node and operator where the library refuses the graph, and the tensor where it would
    compute with another dtype than the bundle promises.
    """
    library, trt = request.library, request.library.module
    with library.log.cleared():
        builder = open_part(library, "Builder")
        if request.threads is not None:
            builder.max_threads = request.threads
        # On 10 the flag must be set, on 11 and in RTX it is the only way there is.
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, library_logger(library.name))
        if not parser.parse_from_file(str(request.graph.path)):
            raise ModelError(_explain_refusal(request, parser))
        _check_tensors(request, network)
        config = builder.create_builder_config()
        if not TF32:
            config.clear_flag(trt.BuilderFlag.TF32)
        config.progress_monitor = progress_monitor(library, observer)
        _add_profiles(request, builder, config)
        cache = _prepare_target(request, config, timing_cache)
        content = builder.build_serialized_network(network, config)
    if content is None:
        raise ModelError(f"{request.graph.name}: {_spelled(library)} built no engine: {library.log.reasons()}")
    observer.progress(1.0, 1.0)  # the library leaves out the last steps of phases it did not need
    return BuiltEngine(content, None if cache is None else bytes(cache.serialize()))


def _explain_refusal(request: BuildRequest, parser: Any) -> str:
    reasons = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        where = f"node {error.node_name() or error.node()} (operator {error.node_operator() or '?'})"
        reasons.append(f"{where}: {' '.join(str(error.desc()).split())}")
    why = "; ".join(reasons) or request.library.log.reasons()
    return f"{request.graph.path}: {_spelled(request.library)} cannot take this graph: {why}"


def _check_tensors(request: BuildRequest, network: Any) -> None:
    graph = request.graph
    sides = (
        ("input", graph.inputs, [network.get_input(i) for i in range(network.num_inputs)]),
        ("output", graph.outputs, [network.get_output(i) for i in range(network.num_outputs)]),
    )
    for side, expected, tensors in sides:
        actual = {tensor.name: tensor for tensor in tensors}
        if set(actual) != {tensor.name for tensor in expected}:
            raise ModelError(
                f"{graph.path}: the {side}s are {sorted(actual)}, but the bundle promises "
                f"{sorted(tensor.name for tensor in expected)}; the bundle was not exported by this program"
            )
        for tensor in expected:
            _check_dtype(request, side, tensor, actual[tensor.name])


def _check_dtype(request: BuildRequest, side: str, expected: TensorContract, actual: Any) -> None:
    dtype = dtype_name(request.library, actual.dtype)
    if dtype == expected.dtype:
        return
    where = f"{request.graph.path}: {side} {expected.name}"
    if expected.dtype == "float64":
        # The parser reads DOUBLE as FLOAT without a word: a place would move by up to a metre.
        raise ModelError(
            f"{where} is float64, which {request.library.name} does not have and would silently round to {dtype}: "
            "use a bundle exported for TensorRT, or --engine onnxruntime"
        )
    raise ModelError(f"{where} is {dtype}, but the bundle promises {expected.dtype}")


def dtype_name(library: TensorRtLibrary, dtype: Any) -> str:
    """Return numpy's name of a dtype of the library, or the library's own for one that numpy does not have."""
    names = {"FLOAT": "float32", "HALF": "float16", "UINT8": "uint8", "INT64": "int64", "INT32": "int32"}
    return names.get(dtype.name, dtype.name)


def _add_profiles(request: BuildRequest, builder: Any, config: Any) -> None:
    for sizes in request.profiles.profiles:
        profile = builder.create_optimization_profile()
        for tensor in request.graph.inputs:
            least, best, most = (
                filled_shape(tensor.shape, {letter: getattr(r, bound) for letter, r in sizes.items()})
                for bound in ("least", "best", "most")
            )
            profile.set_shape(tensor.name, least, best, most)
        if config.add_optimization_profile(profile) < 0:
            raise ModelError(f"{request.graph.name}: a profile was refused: {request.library.log.reasons()}")


def _prepare_target(request: BuildRequest, config: Any, timing_cache: bytes) -> Any:
    """Say what to build for; return the timing cache in use, None where kernels are not measured while building."""
    trt = request.library.module
    if request.library.names_targets:
        config.num_compute_capabilities = 1
        capability = trt.ComputeCapability.__members__[request.target.compute_capability.upper()]
        if not config.set_compute_capability(capability, 0):
            raise ModelError(f"{_spelled(request.library)} refused the target {request.target.compute_capability}")
        return None
    cache = config.create_timing_cache(timing_cache)
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        # Measured with another driver or GPU: such a cache is of no use, and an empty one always fits.
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _spelled(library: TensorRtLibrary) -> str:
    return f"{library.name} {library.version}"
