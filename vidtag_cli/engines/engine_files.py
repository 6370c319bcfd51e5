"""Engines ready to load: from the user's cache when this program built them before, else built now."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidtag_cli.bundle.folders import cache_dir
from vidtag_cli.engines.build_observer import BuildObserver
from vidtag_cli.engines.cache_limit import LIMIT_VARIABLE, cache_limit_bytes, make_room
from vidtag_cli.engines.engine_build import BuildRequest, build_engine
from vidtag_cli.engines.engine_key import digest_of, engine_facts
from vidtag_cli.engines.peak_memory import PeakMemory
from vidtag_cli.engines.sealed_store import Refusal, SealedFile, SealedStore, seal_key, seal_key_path

ENGINE_SUFFIX = ".engine"
TIMING_SUFFIX = ".timing"


@dataclass(frozen=True, slots=True)
class ReadyEngine:
    """A serialised engine that this program built, and what it was built from.

    ``build_seconds`` and ``peak_bytes`` are those of the build, whenever that was; ``is_new`` says it was now.
    """

    content: Any
    key: str
    file: str
    sha256: str
    size_bytes: int
    build_seconds: float
    peak_bytes: int
    is_new: bool


def engine_folder() -> Path:
    """Return the folder of engines in the user's cache folder; it may not exist yet."""
    return cache_dir() / "engines"


def engine_store() -> SealedStore:
    """Return the store of engines in the user's cache folder."""
    return SealedStore(engine_folder(), seal_key(seal_key_path()))


def ready_engine(
    request: BuildRequest, observer: BuildObserver, store: SealedStore, rebuild_because: str = ""
) -> ReadyEngine:
    """Return the engine of a graph, built unless the store has it.

    With ``rebuild_because`` it is built in any case. Two processes that want the same engine build it once: the second
    waits for the first. Raises ModelError when the engine cannot be built.
    """
    facts = engine_facts(request.library, request.graph, request.profiles, request.target)
    key = digest_of(facts)
    name = key + ENGINE_SUFFIX
    what = f"{request.graph.name} ({request.library.name} for {request.target.spelled()})"
    reason = rebuild_because
    if not rebuild_because:
        stored = store.load(name)
        if isinstance(stored, SealedFile):
            return _from_file(stored, key, name)
        reason = stored.reason
    with store.lock(name, lambda: observer.say(f"{what}: another vidtag is building this engine: waiting for it")):
        # Another process may have built it since; but not what made this one ask for a new build.
        stored = store.load(name) if not rebuild_because else Refusal(reason)
        if isinstance(stored, SealedFile):
            return _from_file(stored, key, name)
        if reason:
            observer.say(f"{what}: the engine in the cache is not used: {reason}: building it again")
        else:
            observer.say(f"{what}: building the engine, which is done once and takes up to minutes")
        return _build(request, observer, store, facts, key)


def _from_file(stored: SealedFile, key: str, name: str) -> ReadyEngine:
    build = stored.facts["build"]
    return ReadyEngine(
        stored.content,
        key,
        name,
        stored.sha256,
        len(stored.content),
        build["seconds"],
        build["peak_bytes"],
        is_new=False,
    )


def _build(
    request: BuildRequest, observer: BuildObserver, store: SealedStore, facts: dict[str, Any], key: str
) -> ReadyEngine:
    limit_bytes = cache_limit_bytes()  # refused before the build and not after it
    timing_name = digest_of({n: facts[n] for n in ("library", "library_version", "target", "platform")}) + TIMING_SUFFIX
    timing = store.load(timing_name)
    started = time.perf_counter()
    with PeakMemory() as memory:
        built = build_engine(request, observer, timing.content if isinstance(timing, SealedFile) else b"")
    seconds = time.perf_counter() - started
    content = memoryview(built.content)
    name = key + ENGINE_SUFFIX
    build = {"seconds": round(seconds, 3), "peak_bytes": memory.peak_bytes}
    sha256 = store.save(name, content, {"engine": facts, "build": build})
    if built.timing_cache is not None:
        store.save(timing_name, built.timing_cache, {})
    _make_room(store, limit_bytes, observer)
    return ReadyEngine(
        built.content, key, name, sha256, content.nbytes, build["seconds"], memory.peak_bytes, is_new=True
    )


def _make_room(store: SealedStore, limit_bytes: int, observer: BuildObserver) -> None:
    removed = make_room(store.folder, limit_bytes)
    if removed:
        size_gb = sum(file.size_bytes for file in removed) / 1e9
        observer.say(
            f"removed {len(removed)} files ({size_gb:.1f} GB) unused for longest from the cache of engines, which "
            f"takes at most {limit_bytes / 1e9:g} GB: set {LIMIT_VARIABLE} for more"
        )
