"""What an engine file depends on: whenever any of it differs, another file is built."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from typing import Any

from vidtag_cli.bundle.external_data import external_data_locations
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.bundle.load import ModelGraph
from vidtag_cli.engines.cuda_runtime import Gpu
from vidtag_cli.engines.profiles import ProfileSet
from vidtag_cli.engines.tensorrt_library import TensorRtLibrary
from vidtag_cli.errors import ModelError, UsageError

KEY_SCHEMA = "vidtag-engine/1"
"""Goes up when the way engines are built changes in anything that the key does not name."""

TF32 = False
"""TF32 keeps 10 bits of the mantissa: fp32 stays fp32, as in the other engines."""

_TARGET_PREFIX = "sm"


@dataclass(frozen=True, slots=True)
class BuildTarget:
    """What an engine is built for: the GPU in this machine, or a kind of GPU named by its compute capability."""

    facts: dict[str, str]
    compute_capability: str

    def spelled(self) -> str:
        return self.facts.get("gpu", self.compute_capability)


def named_targets(library: TensorRtLibrary) -> tuple[str, ...]:
    """Return the kinds of GPU that a library builds for, such as ``sm89``; empty when it needs the GPU itself."""
    if not library.names_targets:
        return ()
    capabilities = library.module.ComputeCapability.__members__
    return tuple(name.lower() for name in capabilities if name.startswith("SM"))


def target_named(library: TensorRtLibrary, name: str) -> BuildTarget:
    """Return the target that a user names, such as ``sm89``; raises UsageError when the library does not know it."""
    known = named_targets(library)
    if not known:
        raise UsageError(f"{library.name} builds for the GPU in this machine only: leave --target out")
    if name.lower() not in known:
        raise UsageError(f"{name}: {library.name} {library.version} builds for {', '.join(known)}")
    return BuildTarget({"compute_capability": name.lower()}, name.lower())


def target_of_gpu(library: TensorRtLibrary, gpu: Gpu) -> BuildTarget:
    """Return the target for the GPU that will run the engine.

    Engines of ``tensorrt_rtx`` serve every GPU of one compute capability, so that what was built ahead of time is found
    again; those of ``tensorrt`` belong to one GPU and driver. Raises ModelError for a GPU without a target.
    """
    capability = "{}{}{}".format(_TARGET_PREFIX, *gpu.compute_capability)
    if not library.names_targets:
        return BuildTarget({"compute_capability": capability, "gpu": gpu.name, "driver": gpu.driver}, capability)
    if capability not in named_targets(library):
        raise ModelError(
            f"{gpu.name}: {library.name} {library.version} builds for {', '.join(named_targets(library))}, not for "
            f"{capability}: use --engine tensorrt (install vidtag-geo[gpu])"
        )
    return target_named(library, capability)


def engine_facts(
    library: TensorRtLibrary, graph: ModelGraph, profiles: ProfileSet, target: BuildTarget
) -> dict[str, Any]:
    """Return everything an engine depends on; the hashes are those of the files as they are now.

    Raises ModelError when a file of the graph cannot be read.
    """
    return {
        "schema": KEY_SCHEMA,
        "graph": graph.name,
        **_file_hashes(graph),
        "precision": graph.precision,
        "library": library.name,
        "library_version": library.version,
        "target": target.facts,
        "platform": f"{platform.system()} {platform.machine()}",
        "profiles": profiles.as_json(),
        "flags": {"strongly_typed": True, "tf32": TF32},
    }


def _file_hashes(graph: ModelGraph) -> dict[str, Any]:
    folder = graph.path.parent
    try:
        weights = {location: sha256_of(folder / location) for location in external_data_locations(graph.path)}
        return {"graph_sha256": sha256_of(graph.path), "weights_sha256": weights}
    except OSError as error:
        raise ModelError(f"{error.filename}: cannot be read ({error.strerror}): install the model again") from error


def digest_of(facts: dict[str, Any]) -> str:
    """Return the SHA-256 of facts, in hexadecimal: the name of what was made from them."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
