"""Paths through the places of held-out clips, decoded as the runtime does, and the circles around them
(docs/method.md 3.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.calibration.circles import radius_tables
from vidtag_cli.gallery.posterior import point_mass, search_with_posterior
from vidtag_cli.gallery.store import Gallery
from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.pipeline.calibration import PATH_TABLES
from vidtag_cli.pipeline.path import MAX_PATH_DOUBT, PathRule, decode_path
from vidtag_cli.pipeline.uncertainty import SEARCHED_POINTS

_SCALES = (7.0, 10.0, 14.0, 20.0, 28.0, 40.0)
"""Factors on cosines. Frames of a clip err alike, so a path that trusts each less is often the better one."""


@dataclass(frozen=True, slots=True)
class PathStep:
    """The camera of paths to measure: its greatest speed, the doubt about a step, the time between frames."""

    max_speed_km_h: float
    doubt_km: float
    frame_interval_s: float


def fit_paths(
    gallery: Gallery, embedding: np.ndarray, truth_deg: np.ndarray, is_kept: np.ndarray, step: PathStep,
    place_radius_km: float, bins: int,
) -> tuple[dict[str, float], dict[str, list[float]]]:  # fmt: skip
    """Return parameters and tables for a bundle, fitted on embeddings (B, T, E) of Phase I and true places (B, T, 2).

    The scale is that whose paths bring most frames within ``place_radius_km``. Circles are those of frames ``is_kept``
    (B * T,), on which the program would not abstain for another reason, and that most paths pass.
    """
    clips, frames, width = embedding.shape
    scores, indices, _ = search_with_posterior(gallery, embedding.reshape(-1, width), SEARCHED_POINTS, _SCALES[0])
    latlon = gallery.latlon_deg[indices].reshape(clips, frames, -1, 2)
    tried = []
    for scale in _SCALES:
        # Up to a factor a frame, which moves no path, these are the masses of the posterior.
        likeness = np.exp(scale * (scores - scores[:, :1])).reshape(clips, frames, -1)
        places, _ = _decode(latlon, likeness, step, place_radius_km)
        tried.append((float((haversine_km(places, truth_deg) <= place_radius_km).mean()), -scale))
    scale = -max(tried)[1]
    places, doubt = decode_paths(gallery, embedding, scale, step, place_radius_km)
    errors_km = np.asarray(haversine_km(places, truth_deg)).ravel()
    numbers = {
        "path_max_speed_km_h": step.max_speed_km_h, "path_doubt_km": step.doubt_km, "path_posterior_scale": scale,
    }  # fmt: skip
    is_answer = is_kept & (doubt.ravel() <= MAX_PATH_DOUBT)
    return numbers, radius_tables(PATH_TABLES, doubt.ravel(), errors_km, is_answer, bins)


def decode_paths(
    gallery: Gallery, embedding: np.ndarray, scale: float, step: PathStep, place_radius_km: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the places (B, T, 2) on the plausible path of each clip, and their doubts (B, T)."""
    clips, frames, width = embedding.shape
    scores, indices, summary = search_with_posterior(gallery, embedding.reshape(-1, width), SEARCHED_POINTS, scale)
    masses = point_mass(gallery, scores, indices, scale, summary.log_partition)
    latlon = gallery.latlon_deg[indices].reshape(clips, frames, -1, 2)
    return _decode(latlon, masses.reshape(clips, frames, -1), step, place_radius_km)


def _decode(
    latlon_deg: np.ndarray, masses: np.ndarray, step: PathStep, place_radius_km: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return places (B, T, 2) and doubts (B, T) of paths through points (B, T, K, 2) of masses (B, T, K)."""
    rule = PathRule(step.max_speed_km_h, step.doubt_km, place_radius_km, math.inf, math.inf, step.frame_interval_s)
    times_s = step.frame_interval_s * np.arange(masses.shape[1])
    paths = [decode_path(*clip, times_s, rule) for clip in zip(latlon_deg, masses, strict=True)]
    candidate = np.stack([path.point_index for path in paths])  # (B, T)
    places = np.take_along_axis(latlon_deg, candidate[..., None, None], axis=2)[:, :, 0]
    return places, np.stack([path.doubt for path in paths])
