"""How far places move when every network of a model computes in another precision, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from export.parity.reference import ParityReference, equivalent_step_m

EngineRun = Callable[[str, Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""Graph name and inputs to outputs, as :meth:`vidtag_cli.engines.base.Engine.run` gives them."""

MAX_PLACES = 2000
_SHARES = (50.0, 95.0, 99.0)


@dataclass(frozen=True, slots=True)
class PlaceShift:
    """Metres by which the places of a gallery move under the error of the whole chain of graphs.

    For each of ``places`` gallery points: its own embedding, which is where a perfect frame would lie, is changed by
    the error that the chain made on one of ``frames`` frames; the movement is the step on the ground that changes the
    embedding so. ``cosine_min`` compares the chain's embeddings. ``best_place_changed`` is the share of points whose
    nearest gallery point became another one.
    """

    frames: int
    places: int
    cosine_min: float
    p50_m: float
    p95_m: float
    p99_m: float
    max_m: float
    best_place_changed: float


def chain_embeddings(reference: ParityReference, run: EngineRun, features: np.ndarray) -> np.ndarray:
    """Return the refined embeddings (T, E) of frame features (T, D) as one clip, through the other graphs of a runner.

    The positions between the phases are those of the runner's own search in the reference's gallery.
    """
    attended = run("tempgeo", {"frame_features": features[None]})
    best = reference.best_places(attended["frame_embedding"][0])
    queries = {
        "refined_features": attended["refined_features"],
        "location_embedding": reference.gallery_embedding[best][None],
    }
    return run("georefiner", queries)["refined_embedding"][0]


def place_shift(reference: ParityReference, expected: np.ndarray, found: np.ndarray) -> PlaceShift:
    """Return the movement of up to 2,000 gallery points under the difference of embeddings (T, E)."""
    gallery = reference.gallery_embedding
    chosen = np.linspace(0, len(gallery) - 1, min(MAX_PLACES, len(gallery))).astype(np.int64)
    error = (found.astype(np.float64) - expected)[np.arange(len(chosen)) % len(expected)]
    exact = gallery[chosen].astype(np.float64)
    moved = exact + error
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    step_m = equivalent_step_m(reference.location_encoder, reference.gallery_latlon_deg[chosen], moved - exact)
    best = reference.best_places(moved.astype(np.float32))
    shares = np.percentile(step_m, _SHARES)
    return PlaceShift(
        frames=len(expected),
        places=len(chosen),
        cosine_min=float(_cosines(expected, found).min()),
        p50_m=float(shares[0]),
        p95_m=float(shares[1]),
        p99_m=float(shares[2]),
        max_m=float(step_m.max()),
        best_place_changed=float((best != chosen).mean()),
    )


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
