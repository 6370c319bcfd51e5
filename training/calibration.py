"""Calibration of a model of real video on held-out sequences: posterior scale, radii, when to abstain (SPEC 3.5)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from training.clips import ClipBatch
from training.flyover.calibrate import Evidence, conformal_quantile
from training.model.vidtag import VidTag
from training.phases.phase_one import branch_features
from vidtag_cli.bundle.contract import Calibration
from vidtag_cli.gallery.build import build_gallery
from vidtag_cli.gallery.contract import GalleryOrigin
from vidtag_cli.gallery.posterior import search_with_posterior, summarize_posterior
from vidtag_cli.gallery.search import search_gallery
from vidtag_cli.gallery.store import Gallery
from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.pipeline.calibration import CONTINENT_KM
from vidtag_cli.pipeline.domain import DomainModel
from vidtag_cli.pipeline.uncertainty import posterior_radius_km, window_disagreement_km

_log = logging.getLogger("training")

_SCALES = tuple(float(scale) for scale in np.geomspace(5.0, 320.0, 13))
_KEPT = 0.98
"""Share of the calibration clips, and of their frames, that the limits of domain and disagreement let through."""

_MOST_BINS = 5
CLIPS_PER_BIN = 20
"""A 95 % conformal quantile needs 19 independent scores; frames of one clip are not independent of each other."""

_PLACE_SPACINGS = 4.0
"""Gallery points nearer to each other than so many steps of the grid are one place."""

_CLIPS_AT_ONCE = 16


@dataclass(frozen=True, slots=True, eq=False)
class LocatedClips:
    """What the model says of clips: refined embeddings (B, T, E) float32, the places (B, T, 2) of Phase I and the final
    ones.
    """

    embedding: np.ndarray
    phase_one_latlon_deg: np.ndarray
    latlon_deg: np.ndarray


def calibrate_on_clips(
    model: VidTag,
    calibration: ClipBatch,
    test: ClipBatch,
    domain: DomainModel,
    gallery: Gallery,
    spacing_km: float,
) -> Calibration:
    """Return the calibration fitted on some clips, with its coverage measured on the ``test`` clips.

    With fewer than 20 clips in either part nothing is fitted: the model stays uncalibrated and the statement says why.
    """
    counts = len(calibration.features), len(test.features)
    place_radius_km = _PLACE_SPACINGS * spacing_km
    if min(counts) < CLIPS_PER_BIN:
        return _uncalibrated(model, counts, place_radius_km)
    located = locate_clips(model, calibration, gallery)
    scale = _best_posterior_scale(model, gallery, located, calibration)
    evidence = _gather(gallery, domain, located, calibration, scale)
    parameters = {
        "posterior_scale": scale,
        "place_radius_km": place_radius_km,
        "max_domain_distance": float(np.quantile(evidence.domain_distance, _KEPT)),
        "max_disagreement_km": _disagreement_limit(evidence, place_radius_km),
        "max_radius95_km": CONTINENT_KM,
    }
    is_kept = evidence.disagreement_km <= parameters["max_disagreement_km"]
    tables = _radius_tables(evidence, is_kept, min(_MOST_BINS, counts[0] // CLIPS_PER_BIN))
    measured = _measure(_gather(gallery, domain, locate_clips(model, test, gallery), test, scale), parameters, tables)
    _log.info("calibration: %s %s, measured %s", parameters, tables, measured)
    return Calibration(parameters, tables, _statement(counts, measured), measured)


def open_torch_gallery(model: VidTag, latlon_deg: np.ndarray, folder: Path) -> Gallery:
    """Return places embedded by the torch model, through the same code as the runtime's galleries; kept in ``folder``,
    where another is replaced.
    """

    def embed(positions: np.ndarray) -> np.ndarray:
        places = torch.from_numpy(positions).to(model.log_logit_scale.device)
        with torch.no_grad():
            return model.location_encoder(places).float().cpu().numpy()

    origin = GalleryOrigin("calibration", None, "training", "0" * 64)
    wraps = model.location_encoder.kind == "sphere"
    return build_gallery(folder, latlon_deg, embed, origin, wraps=wraps, force=True)


@torch.no_grad()
def locate_clips(model: VidTag, clips: ClipBatch, gallery: Gallery) -> LocatedClips:
    """Return both phases' answers for clips, as the runtime finds them: GeoRefiner starts from embeddings of the
    gallery.
    """
    device = model.log_logit_scale.device
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    model.eval()
    for begin in range(0, len(clips.features), _CLIPS_AT_ONCE):
        features = branch_features(clips.features[begin : begin + _CLIPS_AT_ONCE], slice(None)).to(device)
        attended, embedding = model.embed_frames(features)  # (b, T, D), (b, T, E)
        _, best = search_gallery(gallery, embedding.flatten(0, 1).float().cpu().numpy(), 1)
        queries = torch.from_numpy(gallery.embeddings[best[:, 0]].astype(np.float32)).reshape(embedding.shape)
        refined = model.georefiner(attended, queries.to(device)).float().cpu().numpy()
        _, last = search_gallery(gallery, refined.reshape(-1, refined.shape[-1]), 1)
        first, final = (gallery.latlon_deg[found[:, 0]].reshape(*refined.shape[:2], 2) for found in (best, last))
        parts.append((refined, first, final))
    return LocatedClips(*(np.concatenate(part) for part in zip(*parts, strict=True)))


@torch.no_grad()
def _best_posterior_scale(model: VidTag, gallery: Gallery, located: LocatedClips, clips: ClipBatch) -> float:
    """Return the factor on cosines under which the true places are most likely, by the mean log density per km2."""
    queries = located.embedding[:, ::4].reshape(-1, located.embedding.shape[-1])
    truth = torch.from_numpy(clips.latlon_deg[:, ::4].reshape(-1, 2)).to(model.log_logit_scale.device)
    cosine = (queries * model.location_encoder(truth).float().cpu().numpy()).sum(-1)
    density = [
        float(np.mean(scale * cosine - summarize_posterior(gallery, queries, scale).log_partition)) for scale in _SCALES
    ]
    return _SCALES[int(np.argmax(density))]


def _gather(gallery: Gallery, domain: DomainModel, located: LocatedClips, clips: ClipBatch, scale: float) -> Evidence:
    """Return the evidence of all frames, computed by the runtime's own functions."""
    queries = located.embedding.reshape(-1, located.embedding.shape[-1])
    _, best, summary = search_with_posterior(gallery, queries, 1, scale)
    frames = clips.features.shape[1]
    distance = np.median(domain.distance(clips.features.astype(np.float32)), axis=1)
    return Evidence(
        np.asarray(haversine_km(gallery.latlon_deg[best[:, 0]], clips.latlon_deg.reshape(-1, 2))),
        posterior_radius_km(summary),
        np.concatenate([window_disagreement_km(clip) for clip in located.phase_one_latlon_deg]),
        distance.repeat(frames),
    )


def _disagreement_limit(evidence: Evidence, at_least_km: float) -> float:
    """Return the limit that keeps nearly all frames. Clips too short to be confirmed disagree by infinity."""
    finite = evidence.disagreement_km[np.isfinite(evidence.disagreement_km)]
    return max(at_least_km, float(np.quantile(finite, _KEPT))) if finite.size else at_least_km


def _radius_tables(evidence: Evidence, is_kept: np.ndarray, bins: int) -> dict[str, list[float]]:
    """Return edges of the posterior's radius and the conformal quantiles of the errors in each bin.

    All frames are taken where none is kept. Equal edges, which would leave a bin without frames, are one edge.
    """
    chosen = is_kept if is_kept.any() else np.ones_like(is_kept)
    radius_km, errors_km = evidence.posterior_radius_km[chosen], evidence.errors_km[chosen]
    edges = np.unique(np.quantile(radius_km, np.arange(1, bins) / bins))
    bin_of = np.searchsorted(edges, radius_km, side="right")
    filled = [errors_km[bin_of == number] for number in range(len(edges) + 1)]
    if not all(len(part) for part in filled):
        edges, filled = np.zeros(0), [errors_km]
    return {
        "posterior_radius_edges_km": [float(edge) for edge in edges],
        "radius50_km": [conformal_quantile(part, 0.5) for part in filled],
        "radius95_km": [conformal_quantile(part, 0.95) for part in filled],
    }


def _measure(evidence: Evidence, parameters: dict[str, float], tables: dict[str, list[float]]) -> dict[str, float]:
    """Return shares and errors on clips that took no part in the fit; without a located frame only their number."""
    bin_of = np.searchsorted(tables["posterior_radius_edges_km"], evidence.posterior_radius_km, side="right")
    radius50_km, radius95_km = (np.array(tables[name])[bin_of] for name in ("radius50_km", "radius95_km"))
    is_located = (
        (evidence.domain_distance <= parameters["max_domain_distance"])
        & (evidence.disagreement_km <= parameters["max_disagreement_km"])
        & (radius95_km <= parameters["max_radius95_km"])
    )
    counted = {"located_share": float(is_located.mean()), "test_frames": float(is_located.size)}
    if not is_located.any():
        return counted
    errors_km = evidence.errors_km[is_located]
    return counted | {
        "coverage50": float((errors_km <= radius50_km[is_located]).mean()),
        "coverage95": float((errors_km <= radius95_km[is_located]).mean()),
        "median_error_located_km": float(np.median(errors_km)),
        "median_radius95_located_km": float(np.median(radius95_km[is_located])),
    }


def _statement(counts: tuple[int, int], measured: dict[str, float]) -> str:
    fitted = f"Radii hold the stated share of frames of {counts[0]} held-out sequences, by the width of the posterior"
    if "coverage95" not in measured:
        return f"{fitted}; of {counts[1]} further sequences not one frame was located."
    return (
        f"{fitted}; on {counts[1]} further sequences the 95 % circle held the true place of "
        f"{100 * measured['coverage95']:.1f} % of the located frames and the 50 % circle of "
        f"{100 * measured['coverage50']:.1f} %. Frames of one sequence are not independent, and all are of "
        "the training data's kind and cities."
    )


def _uncalibrated(model: VidTag, counts: tuple[int, int], place_radius_km: float) -> Calibration:
    parameters = {"posterior_scale": float(model.logit_scale().detach()), "place_radius_km": place_radius_km}
    statement = (
        f"Uncalibrated: {counts[0]} held-out sequences to fit on and {counts[1]} to measure on are too few, "
        f"{CLIPS_PER_BIN} of each are needed. Radii and probabilities are the model's own; how often the true place "
        "lies inside was not measured."
    )
    _log.warning("%s", statement)
    return Calibration(parameters, {}, statement, {})
