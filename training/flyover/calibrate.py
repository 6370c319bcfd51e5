"""Calibration of the demo model on held-out flights: posterior scale, radii, when to abstain (SPEC 3.5)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from training.features import FeatureStore
from training.model.vidtag import VidTag
from training.phases.phase_one import branch_features
from training.retrieval import best_places
from vidtag_cli.gallery.build import build_gallery
from vidtag_cli.gallery.contract import GalleryOrigin
from vidtag_cli.gallery.posterior import summarize_posterior
from vidtag_cli.gallery.store import Gallery
from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.pipeline.domain import DomainModel
from vidtag_cli.pipeline.uncertainty import posterior_radius_km, window_disagreement_km

_log = logging.getLogger("training")

_SCALES = tuple(float(scale) for scale in np.geomspace(10.0, 80.0, 10))
_KEPT_IN_DOMAIN = 0.98
"""Share of calibration flights that the domain limit lets through: the street clip most like a flight (a walk filmed at
the ground) lies at 0.89, the limit at 0.86."""

_BINS = 5
"""Frames are sorted by the posterior's radius into this many equal bins, each with radii of its own."""

MAX_DISAGREEMENT_KM = 500.0
"""A window of a true flight spans at most 750 km; when a frame's place lies farther than this from most others of its
window, some of them are wrong. Chosen on calibration flights: beyond it the 95 % error jumps from 650 to 5,600 km."""

MAX_RADIUS95_KM = 1000.0
"""An answer that may be off by more says nothing that an analyst could use."""

PLACE_RADIUS_KM = 100.0


@dataclass(frozen=True, slots=True)
class CalibrationFit:
    """The numbers for the bundle, and what they were measured to do on flights that took no part in the fit."""

    parameters: dict[str, float]
    tables: dict[str, list[float]]
    measured: dict[str, float]
    statement: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the runtime would know about the frames of a store, (B * T,) each, beside their true errors."""

    errors_km: np.ndarray
    posterior_radius_km: np.ndarray
    disagreement_km: np.ndarray
    domain_distance: np.ndarray


def calibrate(
    model: VidTag,
    calibration: FeatureStore,
    test: FeatureStore,
    domain: DomainModel,
    gallery_latlon_deg: np.ndarray,
    cell_area_km2: float,
    folder: Path,
) -> CalibrationFit:
    """Return the fit on ``calibration`` flights and its coverage on ``test`` flights."""
    gallery = _torch_gallery(model, gallery_latlon_deg, cell_area_km2, folder)
    embedding, places = embed_clips(model, calibration, gallery)
    scale = _best_posterior_scale(model, gallery, embedding, calibration)
    evidence = _gather(gallery, domain, embedding, places, calibration, scale)
    clip_distance = evidence.domain_distance.reshape(len(calibration), -1)[:, 0]
    parameters = {
        "posterior_scale": scale,
        "place_radius_km": PLACE_RADIUS_KM,
        "max_domain_distance": float(np.quantile(clip_distance, _KEPT_IN_DOMAIN)),
        "max_disagreement_km": MAX_DISAGREEMENT_KM,
        "max_radius95_km": MAX_RADIUS95_KM,
        "default_cell_area_km2": cell_area_km2,
    }
    tables = radius_tables(evidence, evidence.disagreement_km <= MAX_DISAGREEMENT_KM)
    test_embedding, test_places = embed_clips(model, test, gallery)
    measured = _measure(_gather(gallery, domain, test_embedding, test_places, test, scale), parameters, tables)
    statement = (
        f"Radii hold the stated share of frames of {len(calibration)} held-out flights, by the width of the posterior; "
        f"on {len(test)} further flights the 95 % circle held the true place of {100 * measured['coverage95']:.1f} % "
        f"of the located frames and the 50 % circle of {100 * measured['coverage50']:.1f} %. Frames of one flight are "
        "not independent."
    )
    _log.info("calibration: %s %s, measured %s", parameters, tables, measured)
    return CalibrationFit(parameters, tables, measured, statement)


def radius_tables(evidence: Evidence, kept: np.ndarray) -> dict[str, list[float]]:
    """Return the bins of the posterior's radius and the conformal quantiles of the errors of the ``kept`` frames."""
    radius_km, errors_km = evidence.posterior_radius_km[kept], evidence.errors_km[kept]
    edges = np.quantile(radius_km, np.arange(1, _BINS) / _BINS)
    chosen = np.searchsorted(edges, radius_km, side="right")
    errors = [errors_km[chosen == index] for index in range(_BINS)]
    return {
        "posterior_radius_edges_km": [float(edge) for edge in edges],
        "radius50_km": [conformal_quantile(part, 0.5) for part in errors],
        "radius95_km": [conformal_quantile(part, 0.95) for part in errors],
    }


def conformal_quantile(scores: np.ndarray, share: float) -> float:
    """Return the split-conformal quantile of nonconformity scores: the smallest with a guarantee for one more."""
    rank = min(1.0, np.ceil((scores.size + 1) * share) / scores.size)
    return float(np.quantile(scores, rank, method="higher"))


@torch.no_grad()
def embed_clips(model: VidTag, store: FeatureStore, gallery: Gallery) -> tuple[np.ndarray, np.ndarray]:
    """Return refined embeddings (B, T, E) float32 and the Phase I places (B, T, 2) that GeoRefiner started from."""
    stored = torch.from_numpy(gallery.embeddings.astype(np.float32))
    parts, places = [], []
    for begin in range(0, len(store), 16):
        attended, embedding = model.embed_frames(branch_features(store.features[begin : begin + 16], slice(None)))
        best = best_places(embedding.flatten(0, 1), stored)
        parts.append(model.georefiner(attended, stored[best].reshape(embedding.shape)))
        places.append(gallery.latlon_deg[best.numpy()].reshape(*embedding.shape[:2], 2))
    return torch.cat(parts).numpy(), np.concatenate(places)


def _torch_gallery(model: VidTag, latlon_deg: np.ndarray, cell_area_km2: float, folder: Path) -> Gallery:
    """Return the default gallery embedded by the torch model, through the same code as the runtime's."""

    def embed(positions: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model.location_encoder(torch.from_numpy(positions)).numpy()

    origin = GalleryOrigin("calibration", None, "flyover", "0" * 64)
    wraps = model.location_encoder.kind == "sphere"
    return build_gallery(
        folder / "calibration_gallery", latlon_deg, embed, origin, wraps=wraps, cell_area_km2=cell_area_km2, force=True
    )


def _best_posterior_scale(model: VidTag, gallery: Gallery, embedding: np.ndarray, store: FeatureStore) -> float:
    """Return the factor on cosines under which the true places are most likely, by the mean log density per km2."""
    queries = embedding[::2, ::4].reshape(-1, embedding.shape[-1])
    truth = store.latlon_deg[::2, ::4].reshape(-1, 2)
    with torch.no_grad():
        true_embedding = model.location_encoder(torch.from_numpy(truth)).numpy()
    cosine = (queries * true_embedding).sum(-1)
    density = [
        float(np.mean(scale * cosine - summarize_posterior(gallery, queries, scale).log_partition)) for scale in _SCALES
    ]
    return _SCALES[int(np.argmax(density))]


def _gather(
    gallery: Gallery,
    domain: DomainModel,
    embedding: np.ndarray,
    places: np.ndarray,
    store: FeatureStore,
    scale: float,
) -> Evidence:
    """Return the evidence of all frames, computed by the runtime's own functions."""
    queries = embedding.reshape(-1, embedding.shape[-1])
    stored = torch.from_numpy(gallery.embeddings.astype(np.float32))
    best, radii = [], []
    for begin in range(0, len(queries), 256):
        part = queries[begin : begin + 256]
        best.append(best_places(torch.from_numpy(part), stored).numpy())
        radii.append(posterior_radius_km(summarize_posterior(gallery, part, scale)))
    distance = np.median(domain.distance(store.features.astype(np.float32)), axis=1)
    return Evidence(
        np.asarray(haversine_km(gallery.latlon_deg[np.concatenate(best)], store.latlon_deg.reshape(-1, 2))),
        np.concatenate(radii),
        np.concatenate([window_disagreement_km(clip) for clip in places]),
        distance.repeat(store.features.shape[1]),
    )


def _measure(evidence: Evidence, parameters: dict[str, float], tables: dict[str, list[float]]) -> dict[str, float]:
    chosen = np.searchsorted(tables["posterior_radius_edges_km"], evidence.posterior_radius_km, side="right")
    radius50_km, radius95_km = (np.array(tables[name])[chosen] for name in ("radius50_km", "radius95_km"))
    located = (
        (evidence.domain_distance <= parameters["max_domain_distance"])
        & (evidence.disagreement_km <= parameters["max_disagreement_km"])
        & (radius95_km <= parameters["max_radius95_km"])
    )
    errors_km = evidence.errors_km[located]
    return {
        "coverage50": float((errors_km <= radius50_km[located]).mean()),
        "coverage95": float((errors_km <= radius95_km[located]).mean()),
        "located_share": float(located.mean()),
        "median_error_located_km": float(np.median(errors_km)),
        "share_within_100_km_located": float((errors_km <= 100.0).mean()),
        "median_radius95_located_km": float(np.median(radius95_km[located])),
        "test_frames": float(located.size),
    }
