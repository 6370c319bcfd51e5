"""Does a graph compute here what it should? Real frames in awkward batches, held against a reference on the CPU.

That an engine starts says little: engines are known that give wrong numbers for some batch sizes alone, and a precision
is safe for some weights and not for others. So both are judged where the weights and the machine are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from vidtag_cli.bundle.folders import PACKAGED_MODELS_DIR
from vidtag_cli.bundle.load import ModelBundle
from vidtag_cli.engines.opening import open_engine
from vidtag_cli.errors import ModelError
from vidtag_cli.gallery.search import search_gallery
from vidtag_cli.gallery.store import Gallery
from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.pipeline.session import FRAME_ENCODERS

Encode = Callable[[np.ndarray], np.ndarray]
"""Frames (N, S, S, 3) uint8 to embeddings or features (N, E) float32."""

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


def frame_encoder(
    bundle: ModelBundle, precision: str, engine: str = "onnxruntime", device: str | None = None,
    threads: int | None = None,
) -> Encode:  # fmt: skip
    """Return what encodes frames with a bundle's own graph in a precision and an engine."""
    graph = bundle.graphs_for(precision, has_float64=engine.startswith("onnxruntime"))[FRAME_ENCODERS[bundle.kind]]
    opened = open_engine(graph, engine, device, threads, window_frames=bundle.window.frames)

    def encode(frames_rgb: np.ndarray) -> np.ndarray:
        (values,) = opened.run({"frames_rgb": np.ascontiguousarray(frames_rgb)}).values()
        return values

    return encode


def try_bundle(
    bundle: ModelBundle, precision: str | None, engine: str, device: str | None, threads: int | None
) -> SelfTest:
    """Return how a bundle's frame encoder does in an engine, held against its most exact graph on the CPU.

    Raises ModelError when engine or precision cannot be had.
    """
    exact, wanted = bundle.precisions()[0], precision or bundle.precisions()[0]
    if "fp32" in bundle.precisions():
        exact = "fp32"
    frames_rgb = packaged_frames(bundle.preprocess.frame_size_px)
    reference = frame_encoder(bundle, exact, threads=threads)
    expected = np.concatenate([reference(frames_rgb[number : number + 1]) for number in range(len(frames_rgb))])
    limit = MIN_COSINE.get(wanted, MIN_COSINE["fp16"]) if wanted != exact else MIN_COSINE["fp16"]
    return judge_encoder(frame_encoder(bundle, wanted, engine, device, threads), expected, frames_rgb, wanted, limit)


def require_passed(result: SelfTest, what: str) -> None:
    """Raise ModelError with all that is beyond a limit."""
    if result.failures:
        raise ModelError(f"{what}: wrong results on this machine: {'; '.join(result.failures)}")
