"""Paths through the places of held-out clips, decoded as the runtime does, and the circles around them
(docs/method.md 3.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vidtag_cli.calibration.circles import radius_tables
from vidtag_cli.calibration.known_frames import KnownFrames, SearchedPlaces
from vidtag_cli.gallery.posterior import point_mass
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
    places: SearchedPlaces, frames: KnownFrames, is_kept: np.ndarray, step: PathStep, place_radius_km: float, bins: int
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Return parameters and tables for a bundle.

    The scale is that whose paths bring most frames within ``place_radius_km``. Circles are those of frames ``is_kept``
    (N,), on which the program would not abstain for another reason, and that most paths pass.
    """
    scores, indices, _ = places.search(frames.first_embedding, SEARCHED_POINTS, _SCALES[0])
    latlon = places.gallery.latlon_deg[indices]
    tried = []
    for scale in _SCALES:
        # Up to a factor a frame, which moves no path, these are the masses of the posterior.
        likeness = np.exp(scale * (scores - scores[:, :1]))
        path_deg, _ = _decode(latlon, likeness, frames, step, place_radius_km)
        is_near = haversine_km(path_deg, frames.truth_latlon_deg) <= place_radius_km
        tried.append((float(is_near.mean()), -scale))
    scale = -max(tried)[1]
    path_deg, doubt = decode_paths(places, frames, scale, step, place_radius_km)
    errors_km = np.asarray(haversine_km(path_deg, frames.truth_latlon_deg))
    numbers = {
        "path_max_speed_km_h": step.max_speed_km_h, "path_doubt_km": step.doubt_km, "path_posterior_scale": scale,
    }  # fmt: skip
    return numbers, radius_tables(PATH_TABLES, doubt, errors_km, frames.clip, is_kept & (doubt <= MAX_PATH_DOUBT), bins)


def decode_paths(
    places: SearchedPlaces, frames: KnownFrames, scale: float, step: PathStep, place_radius_km: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the places (N, 2) on the plausible path of each shot, and their doubts (N,)."""
    scores, indices, summary = places.search(frames.first_embedding, SEARCHED_POINTS, scale)
    masses = point_mass(places.gallery, scores, indices, scale, summary.log_partition)
    return _decode(places.gallery.latlon_deg[indices], masses, frames, step, place_radius_km)


def _decode(
    latlon_deg: np.ndarray, masses: np.ndarray, frames: KnownFrames, step: PathStep, place_radius_km: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return places (N, 2) and doubts (N,) of paths through points (N, K, 2) of masses (N, K)."""
    rule = PathRule(step.max_speed_km_h, step.doubt_km, place_radius_km, math.inf, math.inf, step.frame_interval_s)
    candidate, doubt = np.empty(len(masses), np.int64), np.empty(len(masses))
    for rows in frames.shots():
        path = decode_path(latlon_deg[rows], masses[rows], frames.media_time_s[rows], rule)
        candidate[rows], doubt[rows] = path.point_index, path.doubt
    return latlon_deg[np.arange(len(candidate)), candidate], doubt
