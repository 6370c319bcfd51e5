"""What the torch model says of held-out clips, handed to the calibration that the runtime's program makes too."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from training.features.clips import Clips, branch_features
from training.model.vidtag import VidTag
from vidtag_cli.bundle.contract import Calibration
from vidtag_cli.calibration.circles import CLIPS_PER_BIN
from vidtag_cli.calibration.fit import CalibrationPlan, fit_calibration
from vidtag_cli.calibration.known_frames import KnownFrames, SearchedPlaces
from vidtag_cli.calibration.statement import uncalibrated_statement
from vidtag_cli.gallery.build import build_gallery
from vidtag_cli.gallery.posterior import search_with_posterior
from vidtag_cli.gallery.search import search_gallery
from vidtag_cli.gallery.store import Gallery, GalleryOrigin
from vidtag_cli.pipeline.domain import DomainModel
from vidtag_cli.pipeline.uncertainty import window_disagreement_km

_log = logging.getLogger("training")

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
    interval_s = 1.0 if plan.path is None else plan.path.frame_interval_s
    fit_on, measure_on = (
        known_frames(clips, locate_clips(model, clips, gallery), interval_s, domain) for clips in (calibration, test)
    )
    fitted = fit_calibration(searched_places(model, gallery), fit_on, measure_on, plan)
    _log.info("calibration: %s %s, measured %s", fitted.parameters, fitted.tables, fitted.measured)
    return fitted


def open_torch_gallery(
    model: VidTag, latlon_deg: np.ndarray, folder: Path, cell_area_km2: float | None = None
) -> Gallery:
    """Return places embedded by the torch model, through the same code as the runtime's galleries; kept in ``folder``,
    where another is replaced. ``cell_area_km2`` is the area of every place, where all have the same.
    """
    origin = GalleryOrigin("calibration", None, "training", "0" * 64)
    wraps = model.location_encoder.kind == "sphere"
    embed = partial(_embed_places, model)
    return build_gallery(folder, latlon_deg, embed, origin, wraps=wraps, cell_area_km2=cell_area_km2, force=True)


def searched_places(model: VidTag, gallery: Gallery) -> SearchedPlaces:
    """Return a gallery with the functions that calibration asks of a model."""
    return SearchedPlaces(gallery, partial(search_with_posterior, gallery), partial(_embed_places, model))


@torch.no_grad()
def _embed_places(model: VidTag, latlon_deg: np.ndarray) -> np.ndarray:
    places = torch.from_numpy(latlon_deg).to(model.log_logit_scale.device)
    return model.location_encoder(places).float().cpu().numpy()


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


def known_frames(
    clips: Clips, located: LocatedClips, interval_s: float, domain: DomainModel | None = None
) -> KnownFrames:
    """Return the frames of located clips beside the truth; without ``domain`` all are inside it."""
    count, frames, width = located.embedding.shape
    distance = np.zeros(count, np.float32)
    if domain is not None:
        distance = np.median(domain.distance(clips.features.astype(np.float32)), axis=1)
    clip = np.arange(count).repeat(frames)
    return KnownFrames(
        clip=clip,
        shot=clip,
        media_time_s=np.tile(interval_s * np.arange(frames), count),
        first_embedding=located.phase_one_embedding.reshape(-1, width),
        embedding=located.embedding.reshape(-1, width),
        disagreement_km=np.concatenate([window_disagreement_km(clip) for clip in located.phase_one_latlon_deg]),
        domain_distance=distance.repeat(frames),
        truth_latlon_deg=clips.latlon_deg.reshape(-1, 2),
        is_usable=np.ones(count * frames, bool),
    )


def _uncalibrated(model: VidTag, counts: tuple[int, int], plan: CalibrationPlan) -> Calibration:
    parameters = {"posterior_scale": float(model.logit_scale().detach()), "place_radius_km": plan.place_radius_km}
    statement = uncalibrated_statement(counts, CLIPS_PER_BIN, plan.unit)
    _log.warning("%s", statement)
    return Calibration(parameters, {}, statement, {})
