"""Calibration of a model on clips whose places are known: posterior scale, radii, paths, when to abstain
(docs/method.md 3.4, 3.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vidtag_cli.bundle.contract import Calibration
from vidtag_cli.calibration.circles import CLIPS_PER_BIN, measure_circles, radius_tables
from vidtag_cli.calibration.known_frames import KnownFrames, SearchedPlaces
from vidtag_cli.calibration.paths import PathStep, decode_paths, fit_paths
from vidtag_cli.calibration.statement import calibrated_statement
from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.pipeline.calibration import CONTINENT_KM, PATH_TABLES, TABLES
from vidtag_cli.pipeline.path import MAX_PATH_DOUBT
from vidtag_cli.pipeline.uncertainty import posterior_radius_km

_SCALES = tuple(float(scale) for scale in np.geomspace(5.0, 320.0, 13))
_KEPT = 0.98
"""Share of the calibration clips, and of their frames, that the limits of domain and disagreement let through."""

_MOST_BINS = 5
_WITHOUT_DOMAIN = 1.0

_PATH_BINS = 8
"""The doubt of a path tells frames apart better than the width of a posterior: its bins may be finer."""

_SCALE_STRIDE = 4
"""Of neighbouring frames, which say nearly the same, every fourth is looked at for the scale."""


@dataclass(frozen=True, slots=True)
class CalibrationPlan:
    """What is chosen and not fitted. Without ``max_disagreement_km`` the limit is fitted to keep nearly all frames;
    without ``path`` no paths are measured. A fitted limit of the domain never exceeds ``max_domain_distance``, that of
    a model which has one already. ``unit`` is what the statement calls a clip, ``reach`` what it says of the footage
    that the figures hold for.
    """

    place_radius_km: float
    max_radius95_km: float = CONTINENT_KM
    max_disagreement_km: float | None = None
    path: PathStep | None = None
    unit: str = "sequences"
    reach: str = "all are of the training data's kind and places"
    max_domain_distance: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the runtime would know about frames, (N,) each, beside their true errors."""

    errors_km: np.ndarray
    posterior_radius_km: np.ndarray


def fit_calibration(
    places: SearchedPlaces, calibration: KnownFrames, test: KnownFrames, plan: CalibrationPlan
) -> Calibration:
    """Return the calibration fitted on some clips, with its coverage measured on the ``test`` clips.

    Both need ``CLIPS_PER_BIN`` clips.
    """
    counts = calibration.clips, test.clips
    scale = best_posterior_scale(places, calibration)
    evidence, proof = (gather_evidence(places, frames, scale) for frames in (calibration, test))
    parameters = {
        "posterior_scale": scale,
        "place_radius_km": plan.place_radius_km,
        "max_domain_distance": _domain_limit(calibration, plan.max_domain_distance),
        "max_disagreement_km": plan.max_disagreement_km or _disagreement_limit(calibration, plan.place_radius_km),
        "max_radius95_km": plan.max_radius95_km,
    }
    is_kept, agrees = (within_limits(frames, parameters) for frames in (calibration, test))
    bins = min(_MOST_BINS, counts[0] // CLIPS_PER_BIN)
    tables = radius_tables(TABLES, evidence.posterior_radius_km, evidence.errors_km, calibration.clip, is_kept, bins)
    measured = measure_circles(
        TABLES, tables, proof.posterior_radius_km, proof.errors_km, test.clip, agrees, plan.max_radius95_km
    )
    if plan.path is not None:
        bins = min(_PATH_BINS, counts[0] // CLIPS_PER_BIN)
        numbers, radii = fit_paths(places, calibration, is_kept, plan.path, plan.place_radius_km, bins)
        parameters |= numbers
        tables |= radii
        circles = _measure_paths(places, test, agrees, parameters, tables, plan, plan.path)
        measured |= {f"path_{name}": value for name, value in circles.items()}
    measured |= {"test_clips": float(counts[1]), "test_frames": float(proof.errors_km.size)}
    statement = calibrated_statement(counts, measured, plan.unit, _speed_km_h(plan), plan.reach)
    return Calibration(parameters, tables, statement, measured)


def best_posterior_scale(places: SearchedPlaces, frames: KnownFrames) -> float:
    """Return the factor on cosines under which the true places are most likely, by the mean log density per km2."""
    is_looked_at = frames.row_in_clip() % _SCALE_STRIDE == 0
    queries = frames.embedding[is_looked_at]
    cosine = (queries * places.embed(frames.truth_latlon_deg[is_looked_at])).sum(-1)
    density = [float(np.mean(scale * cosine - places.search(queries, 1, scale)[2].log_partition)) for scale in _SCALES]
    return _SCALES[int(np.argmax(density))]


def gather_evidence(places: SearchedPlaces, frames: KnownFrames, scale: float) -> Evidence:
    """Return the evidence of all frames, computed by the runtime's own functions."""
    _, best, summary = places.search(frames.embedding, 1, scale)
    errors_km = haversine_km(places.gallery.latlon_deg[best[:, 0]], frames.truth_latlon_deg)
    return Evidence(np.asarray(errors_km), posterior_radius_km(summary))


def within_limits(frames: KnownFrames, parameters: Mapping[str, float]) -> np.ndarray:
    """Return (N,) whether the program would answer a frame, whatever its circle."""
    is_known = frames.is_usable & (frames.domain_distance <= parameters["max_domain_distance"])
    return is_known & (frames.disagreement_km <= parameters["max_disagreement_km"])


def _domain_limit(frames: KnownFrames, own: float | None) -> float:
    """Return the limit that keeps nearly all frames, at most the model's ``own``; a model that knows no domain gives
    all frames the distance 0.
    """
    fitted = float(np.quantile(frames.domain_distance, _KEPT)) or _WITHOUT_DOMAIN
    return fitted if own is None else min(own, fitted)


def _disagreement_limit(frames: KnownFrames, at_least_km: float) -> float:
    """Return the limit that keeps nearly all frames. Clips too short to be confirmed disagree by infinity."""
    finite = frames.disagreement_km[np.isfinite(frames.disagreement_km)]
    return max(at_least_km, float(np.quantile(finite, _KEPT))) if finite.size else at_least_km


def _measure_paths(
    places: SearchedPlaces, test: KnownFrames, agrees: np.ndarray, parameters: dict[str, float],
    tables: dict[str, list[float]], plan: CalibrationPlan, step: PathStep,
) -> dict[str, float]:  # fmt: skip
    latlon, doubt = decode_paths(places, test, parameters["path_posterior_scale"], step, plan.place_radius_km)
    errors_km = np.asarray(haversine_km(latlon, test.truth_latlon_deg))
    is_answer = agrees & (doubt <= MAX_PATH_DOUBT)
    return measure_circles(PATH_TABLES, tables, doubt, errors_km, test.clip, is_answer, plan.max_radius95_km)


def _speed_km_h(plan: CalibrationPlan) -> float | None:
    return None if plan.path is None else plan.path.max_speed_km_h
