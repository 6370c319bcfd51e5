"""Calibration of a model on held-out sequences: posterior scale, radii, paths, when to abstain (docs/method.md 3.4,
3.5).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from training.calibration.circles import measure_circles, radius_tables
from training.calibration.paths import PathStep, decode_paths, fit_paths
from training.features.clips import Clips, branch_features
from training.model.vidtag import VidTag
from vidtag_cli.bundle.contract import Calibration
from vidtag_cli.gallery.build import build_gallery
from vidtag_cli.gallery.posterior import search_with_posterior, summarize_posterior
from vidtag_cli.gallery.search import search_gallery
from vidtag_cli.gallery.store import Gallery, GalleryOrigin
from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.pipeline.calibration import CONTINENT_KM, PATH_TABLES, TABLES
from vidtag_cli.pipeline.domain import DomainModel
from vidtag_cli.pipeline.path import MAX_PATH_DOUBT
from vidtag_cli.pipeline.uncertainty import posterior_radius_km, window_disagreement_km

_log = logging.getLogger("training")

_SCALES = tuple(float(scale) for scale in np.geomspace(5.0, 320.0, 13))
_KEPT = 0.98
"""Share of the calibration clips, and of their frames, that the limits of domain and disagreement let through."""

_MOST_BINS = 5
CLIPS_PER_BIN = 20
"""A 95 % conformal quantile needs 19 independent scores; frames of one clip are not independent of each other."""

_PATH_BINS = 8
"""The doubt of a path tells frames apart better than the width of a posterior: its bins may be finer."""

_CLIPS_AT_ONCE = 16


@dataclass(frozen=True, slots=True, eq=False)
class LocatedClips:
    """What the model says of clips: embeddings (B, T, E) float32 of Phase I and refined ones, the places (B, T, 2) of
    Phase I and the final ones.
    """

    phase_one_embedding: np.ndarray
    embedding: np.ndarray
    phase_one_latlon_deg: np.ndarray
    latlon_deg: np.ndarray


@dataclass(frozen=True, slots=True)
class CalibrationPlan:
    """What is chosen and not fitted. Without ``max_disagreement_km`` the limit is fitted to keep nearly all frames;
    without ``path`` no paths are measured. ``unit`` is what the statement calls a clip.
    """

    place_radius_km: float
    max_radius95_km: float = CONTINENT_KM
    max_disagreement_km: float | None = None
    path: PathStep | None = None
    unit: str = "sequences"


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the runtime would know about the frames of clips, (B * T,) each, beside their true errors."""

    errors_km: np.ndarray
    posterior_radius_km: np.ndarray
    disagreement_km: np.ndarray
    domain_distance: np.ndarray


def calibrate_on_clips(
    model: VidTag,
    calibration: Clips,
    test: Clips,
    domain: DomainModel,
    gallery: Gallery,
    plan: CalibrationPlan,
) -> Calibration:
    """Return the calibration fitted on some clips, with its coverage measured on the ``test`` clips.

    With fewer than 20 clips in either part nothing is fitted: the model stays uncalibrated and the statement says why.
    """
    counts = len(calibration.features), len(test.features)
    if min(counts) < CLIPS_PER_BIN:
        return _uncalibrated(model, counts, plan)
    located, proven = (locate_clips(model, clips, gallery) for clips in (calibration, test))
    scale = _best_posterior_scale(model, gallery, located, calibration)
    evidence = _gather(gallery, domain, located, calibration, scale)
    parameters = {
        "posterior_scale": scale,
        "place_radius_km": plan.place_radius_km,
        "max_domain_distance": float(np.quantile(evidence.domain_distance, _KEPT)),
        "max_disagreement_km": plan.max_disagreement_km or _disagreement_limit(evidence, plan.place_radius_km),
        "max_radius95_km": plan.max_radius95_km,
    }
    is_kept = evidence.disagreement_km <= parameters["max_disagreement_km"]
    tables = radius_tables(
        TABLES, evidence.posterior_radius_km, evidence.errors_km, is_kept, min(_MOST_BINS, counts[0] // CLIPS_PER_BIN)
    )
    proof = _gather(gallery, domain, proven, test, scale)
    is_known = proof.domain_distance <= parameters["max_domain_distance"]
    agrees = is_known & (proof.disagreement_km <= parameters["max_disagreement_km"])
    measured = measure_circles(TABLES, tables, proof.posterior_radius_km, proof.errors_km, agrees, plan.max_radius95_km)
    if plan.path is not None:
        bins = min(_PATH_BINS, counts[0] // CLIPS_PER_BIN)
        numbers, radii = fit_paths(
            gallery, located.phase_one_embedding, calibration.latlon_deg, is_kept, plan.path, plan.place_radius_km, bins
        )
        parameters |= numbers
        tables |= radii
        latlon, doubt = decode_paths(
            gallery, proven.phase_one_embedding, numbers["path_posterior_scale"], plan.path, plan.place_radius_km
        )
        errors_km = np.asarray(haversine_km(latlon, test.latlon_deg)).ravel()
        is_answer = agrees & (doubt.ravel() <= MAX_PATH_DOUBT)
        circles = measure_circles(PATH_TABLES, tables, doubt.ravel(), errors_km, is_answer, plan.max_radius95_km)
        measured |= {f"path_{name}": value for name, value in circles.items()}
    measured["test_frames"] = float(proof.errors_km.size)
    _log.info("calibration: %s %s, measured %s", parameters, tables, measured)
    return Calibration(parameters, tables, _statement(counts, measured, plan), measured)


def open_torch_gallery(
    model: VidTag, latlon_deg: np.ndarray, folder: Path, cell_area_km2: float | None = None
) -> Gallery:
    """Return places embedded by the torch model, through the same code as the runtime's galleries; kept in ``folder``,
    where another is replaced. ``cell_area_km2`` is the area of every place, where all have the same.
    """

    def embed(positions: np.ndarray) -> np.ndarray:
        places = torch.from_numpy(positions).to(model.log_logit_scale.device)
        with torch.no_grad():
            return model.location_encoder(places).float().cpu().numpy()

    origin = GalleryOrigin("calibration", None, "training", "0" * 64)
    wraps = model.location_encoder.kind == "sphere"
    return build_gallery(folder, latlon_deg, embed, origin, wraps=wraps, cell_area_km2=cell_area_km2, force=True)


@torch.no_grad()
def locate_clips(model: VidTag, clips: Clips, gallery: Gallery) -> LocatedClips:
    """Return both phases' answers for clips, as the runtime finds them: GeoRefiner starts from embeddings of the
    gallery.
    """
    device = model.log_logit_scale.device
    parts: list[tuple[np.ndarray, ...]] = []
    model.eval()
    for begin in range(0, len(clips.features), _CLIPS_AT_ONCE):
        features = branch_features(clips.features[begin : begin + _CLIPS_AT_ONCE], slice(None)).to(device)
        attended, embedding = model.embed_frames(features)  # (b, T, D), (b, T, E)
        searched = embedding.float().cpu().numpy()
        _, best = search_gallery(gallery, searched.reshape(-1, searched.shape[-1]), 1)
        queries = torch.from_numpy(gallery.embeddings[best[:, 0]].astype(np.float32)).reshape(embedding.shape)
        refined = model.georefiner(attended, queries.to(device)).float().cpu().numpy()
        _, last = search_gallery(gallery, refined.reshape(-1, refined.shape[-1]), 1)
        first, final = (gallery.latlon_deg[indices[:, 0]].reshape(*refined.shape[:2], 2) for indices in (best, last))
        parts.append((searched, refined, first, final))
    return LocatedClips(*(np.concatenate(part) for part in zip(*parts, strict=True)))


@torch.no_grad()
def _best_posterior_scale(model: VidTag, gallery: Gallery, located: LocatedClips, clips: Clips) -> float:
    """Return the factor on cosines under which the true places are most likely, by the mean log density per km2."""
    queries = located.embedding[:, ::4].reshape(-1, located.embedding.shape[-1])
    truth = torch.from_numpy(clips.latlon_deg[:, ::4].reshape(-1, 2)).to(model.log_logit_scale.device)
    cosine = (queries * model.location_encoder(truth).float().cpu().numpy()).sum(-1)
    density = [
        float(np.mean(scale * cosine - summarize_posterior(gallery, queries, scale).log_partition)) for scale in _SCALES
    ]
    return _SCALES[int(np.argmax(density))]


def _gather(gallery: Gallery, domain: DomainModel, located: LocatedClips, clips: Clips, scale: float) -> Evidence:
    """Return the evidence of all frames, computed by the runtime's own functions."""
    queries = located.embedding.reshape(-1, located.embedding.shape[-1])
    _, best, summary = search_with_posterior(gallery, queries, 1, scale)
    distance = np.median(domain.distance(clips.features.astype(np.float32)), axis=1)
    return Evidence(
        np.asarray(haversine_km(gallery.latlon_deg[best[:, 0]], clips.latlon_deg.reshape(-1, 2))),
        posterior_radius_km(summary),
        np.concatenate([window_disagreement_km(clip) for clip in located.phase_one_latlon_deg]),
        distance.repeat(clips.features.shape[1]),
    )


def _disagreement_limit(evidence: Evidence, at_least_km: float) -> float:
    """Return the limit that keeps nearly all frames. Clips too short to be confirmed disagree by infinity."""
    finite = evidence.disagreement_km[np.isfinite(evidence.disagreement_km)]
    return max(at_least_km, float(np.quantile(finite, _KEPT))) if finite.size else at_least_km


def _statement(counts: tuple[int, int], measured: dict[str, float], plan: CalibrationPlan) -> str:
    fitted = f"Radii hold the stated share of frames of {counts[0]} held-out {plan.unit}, by the width of the posterior"
    if "coverage95" not in measured:
        text = f"{fitted}; of {counts[1]} further {plan.unit} not one frame was located."
    else:
        text = f"{fitted}; on {counts[1]} further {plan.unit} {_coverage(measured, '')}."
    if plan.path is not None and "path_coverage95" in measured:
        text += (
            f" With --smooth viterbi and {plan.path.max_speed_km_h:g} km/h they go by the share of all paths that pass "
            f"elsewhere; on the same {plan.unit} {_coverage(measured, 'path_')}."
        )
    return f"{text} Frames of one clip are not independent, and all are of the training data's kind and places."


def _coverage(measured: dict[str, float], prefix: str) -> str:
    shares = (100 * measured[f"{prefix}{name}"] for name in ("coverage95", "located_share", "coverage50"))
    return (
        "the 95 % circle held the true place of {:.1f} % of the located frames ({:.0f} % of all) and the 50 % circle "
        "of {:.1f} %".format(*shares)
    )


def _uncalibrated(model: VidTag, counts: tuple[int, int], plan: CalibrationPlan) -> Calibration:
    parameters = {"posterior_scale": float(model.logit_scale().detach()), "place_radius_km": plan.place_radius_km}
    statement = (
        f"Uncalibrated: {counts[0]} held-out {plan.unit} to fit on and {counts[1]} to measure on are too few, "
        f"{CLIPS_PER_BIN} of each are needed. Radii and probabilities are the model's own; how often the true place "
        "lies inside was not measured."
    )
    _log.warning("%s", statement)
    return Calibration(parameters, {}, statement, {})
