"""Where errors fall: by continent, by length of the clip (Fig. 8), by scale and by kind (Fig. 12)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from training.evaluation.predictions import PLACE_LEVELS, Predictions
from vidtag_cli.evaluation.metrics import frame_errors_km, video_error_km
from vidtag_cli.geo.places import OPEN_SEA, continents_of
from vidtag_cli.geo.sphere import centroid_latlon, destination_latlon, haversine_km, initial_bearing_deg

LENGTH_EDGES = (1, 8, 16, 32, 64, 128, 256)
"""First numbers of frames of the classes of length; the last class has no upper end."""

SCALES_KM = {
    "same street (1 km)": 1.0,
    "same locality (5 km)": 5.0,
    "another part of the city (25 km)": 25.0,
    "same region (200 km)": 200.0,
    "same country (750 km)": 750.0,
    "same continent (2,500 km)": 2500.0,
    "elsewhere": np.inf,
}
"""The upper ends of the scales of error, as the paper's thresholds name them."""

COLLAPSED_SHARE = 0.1

SHIFTED_SHARE = 0.8

STANDING_KM = 0.05
"""A clip whose frames spread less than this does not move: it cannot be told from a collapsed one."""


def to_plane_km(latlon_deg: np.ndarray, centre_latlon_deg: np.ndarray) -> np.ndarray:
    """Return (N, 2) kilometres east and north of a centre (2,): the azimuthal equidistant projection."""
    centre = np.broadcast_to(centre_latlon_deg, latlon_deg.shape)
    distance_km = haversine_km(centre, latlon_deg)
    bearing = np.deg2rad(initial_bearing_deg(centre, latlon_deg))
    return np.stack([distance_km * np.sin(bearing), distance_km * np.cos(bearing)], axis=-1)


def from_plane_km(plane_km: np.ndarray, centre_latlon_deg: np.ndarray) -> np.ndarray:
    """Return the positions (N, 2) in degrees of points (N, 2) in kilometres east and north of a centre (2,)."""
    centre = np.broadcast_to(centre_latlon_deg, plane_km.shape)
    bearing_deg = np.rad2deg(np.arctan2(plane_km[:, 0], plane_km[:, 1]))
    return np.asarray(destination_latlon(centre, bearing_deg, np.hypot(plane_km[:, 0], plane_km[:, 1])))


def clip_continents(predictions: Predictions) -> np.ndarray:
    """Return the (C,) continents of the clips: as the data set labels them, else where most true positions lie.

    ``open sea`` only when no frame is near land; empty for a clip without any true position.
    """
    names = np.full(len(predictions), "", dtype="<U16")
    if predictions.places is not None:
        names = predictions.places[:, PLACE_LEVELS.index("continent")].astype("<U16")
    for row, (truth, _) in enumerate(predictions.clips()):
        known = truth[~np.isnan(truth[:, 0])]
        if names[row] == "" and len(known):
            names[row] = _most_frequent(continents_of(known))
    return names


def split_by_continent(predictions: Predictions) -> dict[str, Predictions]:
    """Return the clips of each continent, in alphabetical order."""
    names = clip_continents(predictions)
    return {str(name): predictions.select(names == name) for name in np.unique(names) if name}


def split_by_length(predictions: Predictions, edges: tuple[int, ...] = LENGTH_EDGES) -> dict[str, Predictions]:
    """Return the clips of each class of length in frames, from short to long, without empty classes."""
    frames = predictions.frames_per_clip()
    classes = np.digitize(frames, edges)
    named = {}
    for number in np.unique(classes):
        if number == 0:
            name = f"< {edges[0]}"
        else:
            name = f"{edges[number - 1]}-{edges[number] - 1}" if number < len(edges) else f">= {edges[-1]}"
        named[name] = predictions.select(classes == number)
    return named


def video_errors_km(predictions: Predictions) -> np.ndarray:
    """Return the (C,) video errors of appendix E.1; NaN for a clip without truth or of which nothing was located."""
    return np.array(
        [
            float("nan") if np.isnan(truth).all() else video_error_km(truth, predicted)
            for truth, predicted in predictions.clips()
        ]
    )


def error_scales(predictions: Predictions) -> dict[str, float]:
    """Return the share of frames with a truth by the scale of their error, and of those abstained: together 1."""
    errors_km = frame_errors_km(predictions.truth_latlon_deg, predictions.predicted_latlon_deg)
    errors_km = errors_km[~np.isnan(predictions.truth_latlon_deg[:, 0])]
    located_km = errors_km[~np.isnan(errors_km)]
    of_scale = np.searchsorted(list(SCALES_KM.values()), located_km, side="left")
    count = max(1, len(errors_km))
    shares = {name: float(np.sum(of_scale == number) / count) for number, name in enumerate(SCALES_KM)}
    return {**shares, "abstained": float((len(errors_km) - len(located_km)) / count)}


def error_kinds(predictions: Predictions, right_within_km: float = 1.0) -> dict[str, float]:
    """Return the share of clips with a truth of each kind of error, after the failure modes of the paper's Fig. 4."""
    clips = [clip for clip in predictions.clips() if not np.isnan(clip[0]).all()]
    counts: Mapping[str, int] = Counter(error_kind(*clip, right_within_km) for clip in clips)
    kinds = ("right", "shifted", "collapsed", "scattered", "abstained")
    return {kind: counts.get(kind, 0) / max(1, len(clips)) for kind in kinds}


def error_kind(truth_latlon_deg: np.ndarray, predicted_latlon_deg: np.ndarray, right_within_km: float) -> str:
    """Return what is wrong with the track of one clip.

    ``right``: the median error is small. ``collapsed``: the predictions spread over less than a tenth of the extent of
    the truth, which moves. ``shifted``: one displacement of the whole clip makes up most of the mean squared error.
    ``scattered``: anything else. ``abstained``: nothing was located.
    """
    kept = ~np.isnan(truth_latlon_deg[:, 0]) & ~np.isnan(predicted_latlon_deg[:, 0])
    if not kept.any():
        return "abstained"
    truth, predicted = truth_latlon_deg[kept], predicted_latlon_deg[kept]
    if float(np.median(frame_errors_km(truth, predicted))) <= right_within_km:
        return "right"
    true_km, predicted_km = (to_plane_km(track, _centre(track)) for track in (truth, predicted))
    if _spread_km(true_km) > STANDING_KM and _spread_km(predicted_km) < COLLAPSED_SHARE * _spread_km(true_km):
        return "collapsed"
    displacement_km = to_plane_km(predicted, _centre(truth)) - true_km
    shift = float((displacement_km.mean(axis=0) ** 2).sum() / (displacement_km**2).sum(axis=1).mean())
    return "shifted" if shift >= SHIFTED_SHARE else "scattered"


def _centre(track_latlon_deg: np.ndarray) -> np.ndarray:
    try:
        return np.asarray(centroid_latlon(track_latlon_deg))
    except ValueError:  # positions all over the globe: any of them will do
        return track_latlon_deg[0]


def _spread_km(plane_km: np.ndarray) -> float:
    return float(np.sqrt(((plane_km - plane_km.mean(axis=0)) ** 2).sum(axis=1).mean()))


def _most_frequent(names: Iterable[str]) -> str:
    ranked = Counter(names).most_common()
    ashore = [name for name, _ in ranked if name != OPEN_SEA]
    return str(ashore[0] if ashore else OPEN_SEA)
