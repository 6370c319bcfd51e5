"""One plausible path through the candidates of a track (SPEC 3.4): Viterbi over places, with a limit on speed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.pipeline.calibration import UncalibratedRule, UncertaintyRule
from vidtag_cli.track import Candidate, Track, TrackPoint

MAX_SPEED_KM_H = 250.0
"""What a camera on the ground may do, unless the analyst says otherwise: a fast train."""

_LEAST_PROBABILITY = 1e-6
JUMP_NATS = 8.0
"""What a step costs that no camera can make, at most: a path leaps, at a cut or a mistake, when a place is about 3,000
times as probable as those within reach."""


@dataclass(frozen=True, slots=True)
class PathRule:
    """What counts as plausible: ``max_speed_km_h`` of the camera, beside ``place_radius_km`` of doubt about each place,
    and how wide the circles of the model may be before a frame abstains.
    """

    max_speed_km_h: float
    place_radius_km: float
    max_radius50_km: float
    max_radius95_km: float


def path_rule(rule: UncertaintyRule | UncalibratedRule, max_speed_km_h: float) -> PathRule:
    """Return the rule for a model's tracks and a speed that the analyst takes for plausible."""
    if isinstance(rule, UncertaintyRule):
        return PathRule(max_speed_km_h, rule.place_radius_km, math.inf, rule.max_radius95_km)
    return PathRule(max_speed_km_h, rule.place_radius_km, rule.max_radius50_km, math.inf)


def smooth_track(track: Track, rule: PathRule) -> Track:
    """Return the track with each located frame at that one of its candidates which the most plausible path takes.

    A frame whose candidate changes gets circles that contain its old ones, so they hold the true place at least as
    often as was measured. When they become wider than the model allows, the path contradicts the frame, and the frame
    abstains. Frames that abstained stay as they are, and the path may pass between their neighbours.
    """
    located = track.located()
    chosen = decode_path(
        [point.candidates for point in located], np.array([point.media_time_s for point in located]), rule
    )
    moved = {point.frame_index: _move(point, index, rule) for point, index in zip(located, chosen, strict=True)}
    return replace(
        track,
        points=tuple(moved.get(point.frame_index, point) for point in track.points),
        smoothing=f"viterbi (at most {rule.max_speed_km_h:g} km/h)",
    )


def decode_path(candidates: Sequence[Sequence[Candidate]], times_s: np.ndarray, rule: PathRule) -> list[int]:
    """Return for each frame, at rising ``times_s`` (T,), the index of the candidate that the cheapest path takes.

    A place costs the negative logarithm of its probability. A step costs nothing within reach, which is the way at full
    speed and the doubt about both places; beyond it costs one nat for each further doubt, ``JUMP_NATS`` at most.
    """
    if not candidates:
        return []
    places = [np.array([(place.lat_deg, place.lon_deg) for place in frame]) for frame in candidates]
    costs = [-np.log([max(place.probability, _LEAST_PROBABILITY) for place in frame]) for frame in candidates]
    doubt_km = 2.0 * rule.place_radius_km
    total, came_from = costs[0], []
    for before, here, cost, elapsed_s in zip(places, places[1:], costs[1:], np.diff(times_s), strict=False):
        distance_km = haversine_km(before[:, None], here[None])  # (K before, K here)
        beyond_km = distance_km - rule.max_speed_km_h * elapsed_s / 3600.0 - doubt_km
        step = total[:, None] + np.clip(beyond_km / doubt_km, 0.0, JUMP_NATS)
        came_from.append(step.argmin(axis=0))
        total = step.min(axis=0) + cost
    path = [int(total.argmin())]
    for origin in reversed(came_from):
        path.append(int(origin[path[-1]]))
    return path[::-1]


def _move(point: TrackPoint, index: int, rule: PathRule) -> TrackPoint:
    if index == 0:
        return point
    first, place = point.candidates[0], point.candidates[index]
    away_km = float(haversine_km(np.array([first.lat_deg, first.lon_deg]), np.array([place.lat_deg, place.lon_deg])))
    radius50_m, radius95_m = ((radius or 0.0) + 1000.0 * away_km for radius in (point.radius50_m, point.radius95_m))
    if radius50_m > 1000.0 * rule.max_radius50_km or radius95_m > 1000.0 * rule.max_radius95_km:
        reason = f"the plausible path passes far from this frame's own place ({away_km:.0f} km)"
        return TrackPoint(point.frame_index, point.media_time_s, "abstained", abstain_reason=reason)
    return replace(
        point, lat_deg=place.lat_deg, lon_deg=place.lon_deg, radius50_m=radius50_m, radius95_m=radius95_m,
        confidence=place.probability,
    )  # fmt: skip
