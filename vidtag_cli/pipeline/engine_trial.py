"""Does a graph compute here what it should? Real inputs in awkward batches, held against a reference on the CPU.

That an engine starts says little: engines are known that give wrong numbers for some batch sizes alone, and a precision
is safe for some weights and not for others. So both are judged where the weights and the machine are: at length by
`vidtag models selftest`, and in short before the first use of an engine by any command.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from vidtag_cli.bundle.folders import PACKAGED_MODELS_DIR, cache_dir
from vidtag_cli.bundle.load import ModelBundle, ModelGraph
from vidtag_cli.engines.base import Engine
from vidtag_cli.engines.build_observer import BuildObserver
from vidtag_cli.engines.engine_key import digest_of
from vidtag_cli.engines.opening import DEFAULT_ENGINE, default_device, open_engine
from vidtag_cli.errors import ModelError
from vidtag_cli.files import replace_file
from vidtag_cli.gallery.search import search_gallery
from vidtag_cli.gallery.store import Gallery
from vidtag_cli.geo.sphere import haversine_km

Encode = Callable[[np.ndarray], np.ndarray]
"""Inputs, such as frames (N, S, S, 3) uint8, to embeddings or features (N, E) float32."""

FRAMES_DIR = PACKAGED_MODELS_DIR / "test_frames"

MIN_COSINE: Mapping[str, float] = {"fp32": 0.99999, "fp16": 0.999, "int8": 0.98}
"""The least cosine with the reference by precision, unless a recipe has its own."""

SAME_COSINE = 0.999
"""The least cosine of a frame with itself in another batch. Integer precisions take their step from the whole batch."""

REPEATS = 3


@dataclass(frozen=True, slots=True)
class SelfTest:
    """How a graph did: the least cosine with the reference and, of every kind of batch, with itself alone; ``moved_m``
    is how far the best place of a frame moved at most, None where that was not asked.
    """

    precision: str
    frames: int
    least_cosine: float
    batches: Mapping[str, float]
    moved_m: float | None = None
    min_cosine: float = MIN_COSINE["fp32"]

    @property
    def failures(self) -> list[str]:
        """What is beyond its limit, in words; nothing where all is well. What is no number is beyond any."""
        found = []
        if not self.least_cosine >= self.min_cosine:
            found.append(
                f"{self.precision} turns a frame's embedding too far from fp32 on the CPU (cosine "
                f"{self.least_cosine:.5f}, at least {self.min_cosine:.5f})"
            )
        for name, cosine in self.batches.items():
            if not cosine >= SAME_COSINE:
                found.append(f"{name}: a frame gets another answer than alone (cosine {cosine:.5f})")
        return found

    def movement(self) -> str:
        """Say how far places moved."""
        if self.moved_m is None:
            return "how far places move was not asked: this model's frames are placed together with their neighbours"
        return f"best places moved by at most {self.moved_m:,.0f} m"

    def document(self) -> dict[str, object]:
        """Return all numbers under their names, for JSON."""
        return {
            "precision": self.precision, "frames": self.frames, "least_cosine": self.least_cosine,
            "min_cosine": self.min_cosine, "batches": dict(self.batches), "best_place_moved_m": self.moved_m,
            "failures": self.failures,
        }  # fmt: skip


def packaged_frames(size_px: int) -> np.ndarray:
    """Return the packaged frames (N, size_px, size_px, 3) uint8: streets, a walk, a view from above, a speaker."""
    return np.stack([_read_frame(path, size_px) for path in sorted(FRAMES_DIR.glob("*.jpg"))])


def _read_frame(path: Path, size_px: int) -> np.ndarray:
    with av.open(str(path)) as picture:
        (frame,) = picture.decode(video=0)
        pixels: np.ndarray = frame.reformat(size_px, size_px, "rgb24").to_ndarray()
    return pixels


def judge_encoder(
    encode: Encode, reference: np.ndarray, frames_rgb: np.ndarray, precision: str, min_cosine: float,
    gallery: Gallery | None = None,
) -> SelfTest:  # fmt: skip
    """Return how an encoder does on frames (N, S, S, 3) against ``reference`` (N, E), and against itself in batches of
    1, 2 and N frames, of one frame many times, and of N in the opposite order.
    """
    count = len(frames_rgb)
    alone = np.concatenate([encode(frames_rgb[number : number + 1]) for number in range(count)])
    pairs = np.concatenate([encode(frames_rgb[begin : begin + 2]) for begin in range(0, count, 2)])
    repeated = encode(frames_rgb[:1].repeat(REPEATS, axis=0))
    batches = {
        "two at a time": _least_cosine(pairs, alone),
        f"{count} together": _least_cosine(encode(frames_rgb), alone),
        "the other way round": _least_cosine(encode(frames_rgb[::-1].copy())[::-1], alone),
        f"{REPEATS} times the same": _least_cosine(repeated, alone[:1].repeat(REPEATS, axis=0)),
    }
    moved_m = None
    if gallery is not None:
        _, best = search_gallery(gallery, np.concatenate([reference, alone]), 1)
        places = gallery.latlon_deg[best[:, 0]]
        moved_m = 1000.0 * float(np.max(haversine_km(places[:count], places[count:])))
    return SelfTest(precision, count, _least_cosine(alone, reference), batches, moved_m, min_cosine)


def _least_cosine(values: np.ndarray, expected: np.ndarray) -> float:
    if values.shape != expected.shape:
        return float("nan")
    products = (values * expected).sum(-1, dtype=np.float64)
    lengths = np.linalg.norm(values, axis=-1) * np.linalg.norm(expected, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float((products / lengths).min())


def require_passed(result: SelfTest, what: str) -> None:
    """Raise ModelError with all that is beyond a limit."""
    if result.failures:
        raise ModelError(f"{what}: wrong results on this machine: {'; '.join(result.failures)}")


SHORT_FRAMES = 3
"""How many of the packaged frames an engine sees before its first use."""

TRIAL_PLACES_LATLON_DEG = np.array([[51.5, -0.1], [-33.9, 151.2], [0.0, 179.99]])

_IDENTITY = (
    "engine", "version", "device", "gpu", "compute_capability", "driver", "providers", "graph", "graph_sha256",
    "precision", "engine_sha256",
)  # fmt: skip
"""What of an engine's description says which one it is: when any of it is another, the engine is tried again."""


def exact_precision(bundle: ModelBundle) -> str:
    """Return the most exact precision of a bundle, the reference on the CPU."""
    return "fp32" if "fp32" in bundle.precisions() else bundle.precisions()[0]


def engine_limit(precision: str) -> float:
    """Return the least cosine of an engine in a precision with the exact graph on the CPU."""
    return min(MIN_COSINE.get(precision, MIN_COSINE["fp16"]), MIN_COSINE["fp16"])


def trials_dir() -> Path:
    """Return the folder that remembers which engines have passed; it may not exist yet."""
    return cache_dir() / "engine_trials"


def require_tried_engines(
    bundle: ModelBundle, engines: Mapping[str, Engine], names: tuple[str, ...], *, engine: str, device: str | None,
    threads: int | None, observer: BuildObserver,
) -> None:  # fmt: skip
    """Try the engines of the graphs ``names``, each with one input, unless that very engine has passed here before.

    ONNX Runtime on the CPU is the reference and is not tried. Raises ModelError for an engine that computes wrong: it
    is tried again each time, for only what passed is remembered.
    """
    if engine == DEFAULT_ENGINE and (device or default_device(engine)) == "cpu":
        return
    for name in names:
        facts = engines[name].describe()
        identity = {"bundle_sha256": bundle.sha256} | {key: facts[key] for key in _IDENTITY if key in facts}
        passed = trials_dir() / f"{digest_of(identity)}.json"
        if passed.is_file():
            continue
        observer.say(f"{name} on {engine}: trying this engine against the CPU, once")
        result = _try_engine(bundle, name, engines[name], str(facts["precision"]), threads)
        require_passed(result, f"{bundle.name} {name} {result.precision} on {engine}")
        _remember(passed, identity | {"trial": result.document()})


def _try_engine(bundle: ModelBundle, name: str, engine: Engine, precision: str, threads: int | None) -> SelfTest:
    graph = bundle.graphs_for(exact_precision(bundle))[name]
    reference = encoder_of(open_engine(graph, threads=threads), graph)
    rows = _trial_rows(bundle, graph)
    expected = np.concatenate([reference(rows[number : number + 1]) for number in range(len(rows))])
    return judge_encoder(encoder_of(engine, graph), expected, rows, precision, engine_limit(precision))


def _trial_rows(bundle: ModelBundle, graph: ModelGraph) -> np.ndarray:
    if graph.inputs[0].name == "frames_rgb":
        return packaged_frames(bundle.preprocess.frame_size_px)[:SHORT_FRAMES]
    return TRIAL_PLACES_LATLON_DEG


def encoder_of(engine: Engine, graph: ModelGraph) -> Encode:
    """Return what an opened engine makes of the one input of a graph, its one output."""
    name = graph.inputs[0].name

    def encode(rows: np.ndarray) -> np.ndarray:
        (values,) = engine.run({name: np.ascontiguousarray(rows)}).values()
        return values

    return encode


def _remember(path: Path, document: Mapping[str, object]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, (json.dumps(document, indent=2) + "\n").encode())
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror}): set VIDTAG_HOME to another folder") from error
