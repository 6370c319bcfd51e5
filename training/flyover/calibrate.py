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
from training.retrieval import best_places, embed_gallery
from vidtag_cli.gallery.build import build_gallery
from vidtag_cli.gallery.contract import GalleryOrigin
from vidtag_cli.gallery.posterior import summarize_posterior
from vidtag_cli.gallery.store import Gallery
from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.pipeline.domain import DomainModel
from vidtag_cli.pipeline.uncertainty import posterior_radius_km

_log = logging.getLogger("training")

_SCALES = tuple(float(scale) for scale in np.geomspace(5.0, 200.0, 28))
_KEPT_IN_DOMAIN = 0.995
"""Share of calibration flights that the domain limit lets through."""

_KEPT_BY_RADIUS = 0.98
"""Share of calibration frames that the limit on the 95 % radius lets through."""

PLACE_RADIUS_KM = 100.0


@dataclass(frozen=True, slots=True)
class CalibrationFit:
    """The numbers for the bundle, and what they were measured to do on flights that took no part in the fit."""

    parameters: dict[str, float]
    measured: dict[str, float]
    statement: str


@torch.no_grad()
def refined_embeddings(model: VidTag, store: FeatureStore, gallery_latlon_deg: np.ndarray) -> np.ndarray:
    """Return the embeddings (B, T, E) float32 that the second search sees."""
    gallery = embed_gallery(model, gallery_latlon_deg)
    parts = []
    for begin in range(0, len(store), 16):
        attended, embedding = model.embed_frames(branch_features(store.features[begin : begin + 16], slice(None)))
        queries = gallery[best_places(embedding.flatten(0, 1), gallery)].reshape(embedding.shape)
        parts.append(model.georefiner(attended, queries))
    return torch.cat(parts).numpy()


def calibrate(
    model: VidTag, calibration: FeatureStore, test: FeatureStore, domain: DomainModel, gallery_latlon_deg: np.ndarray,
    cell_area_km2: float, folder: Path,
) -> CalibrationFit:  # fmt: skip
    """Return the fit on ``calibration`` flights and its coverage on ``test`` flights."""
    gallery = _torch_gallery(model, gallery_latlon_deg, cell_area_km2, folder)
    embedding = refined_embeddings(model, calibration, gallery_latlon_deg)
    scale = _best_posterior_scale(model, gallery, embedding, calibration)
    errors_km, radius_km = _errors_and_radii(gallery, embedding, calibration, scale)
    factor50, factor95 = (conformal_quantile(errors_km / radius_km, share) for share in (0.5, 0.95))
    distance = np.median(domain.distance(calibration.features.astype(np.float32)), axis=1)
    parameters = {
        "posterior_scale": scale,
        "radius50_factor": factor50,
        "radius95_factor": factor95,
        "place_radius_km": PLACE_RADIUS_KM,
        "max_domain_distance": float(np.quantile(distance, _KEPT_IN_DOMAIN)),
        "max_radius95_km": float(np.quantile(factor95 * radius_km, _KEPT_BY_RADIUS)),
        "default_cell_area_km2": cell_area_km2,
    }
    measured = _measure(model, gallery, domain, test, gallery_latlon_deg, parameters)
    statement = (
        f"Radii hold the stated share of frames of {len(calibration)} held-out flights; on {len(test)} further flights "
        f"the 95 % circle held the true place of {100 * measured['coverage95']:.1f} % of the located frames and the "
        f"50 % circle of {100 * measured['coverage50']:.1f} %. Frames of one flight are not independent."
    )
    _log.info("calibration: %s, measured %s", parameters, measured)
    return CalibrationFit(parameters, measured, statement)


def conformal_quantile(ratios: np.ndarray, share: float) -> float:
    """Return the split-conformal quantile of nonconformity scores: the smallest with a guarantee for one more such
    score.
    """
    rank = min(1.0, np.ceil((ratios.size + 1) * share) / ratios.size)
    return float(np.quantile(ratios, rank, method="higher"))


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


def _errors_and_radii(
    gallery: Gallery, embedding: np.ndarray, store: FeatureStore, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return errors and posterior radii (B * T,) in kilometres."""
    queries = embedding.reshape(-1, embedding.shape[-1])
    best, radii = [], []
    stored = torch.from_numpy(gallery.embeddings.astype(np.float32))
    for begin in range(0, len(queries), 256):
        part = queries[begin : begin + 256]
        best.append(best_places(torch.from_numpy(part), stored).numpy())
        radii.append(posterior_radius_km(summarize_posterior(gallery, part, scale)))
    errors_km = haversine_km(gallery.latlon_deg[np.concatenate(best)], store.latlon_deg.reshape(-1, 2))
    return errors_km, np.concatenate(radii)


def _measure(
    model: VidTag, gallery: Gallery, domain: DomainModel, test: FeatureStore, gallery_latlon_deg: np.ndarray,
    parameters: dict[str, float],
) -> dict[str, float]:  # fmt: skip
    embedding = refined_embeddings(model, test, gallery_latlon_deg)
    errors_km, radius_km = _errors_and_radii(gallery, embedding, test, parameters["posterior_scale"])
    distance = np.median(domain.distance(test.features.astype(np.float32)), axis=1).repeat(test.features.shape[1])
    radius95_km = parameters["radius95_factor"] * radius_km
    located = (distance <= parameters["max_domain_distance"]) & (radius95_km <= parameters["max_radius95_km"])
    inside50 = errors_km <= parameters["radius50_factor"] * radius_km
    return {
        "coverage50": float(inside50[located].mean()),
        "coverage95": float((errors_km <= radius95_km)[located].mean()),
        "located_share": float(located.mean()),
        "median_error_located_km": float(np.median(errors_km[located])),
        "median_radius95_located_km": float(np.median(radius95_km[located])),
        "test_frames": float(errors_km.size),
    }
