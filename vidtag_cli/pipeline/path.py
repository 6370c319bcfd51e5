"""One plausible path through the places of a track (docs/method.md 3.4): Viterbi over gallery points, with a limit
on speed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vidtag_cli.gallery.posterior import point_mass
from vidtag_cli.geo.sphere import EARTH_RADIUS_KM, haversine_km, unit_vector
from vidtag_cli.pipeline.calibration import RadiusTable, UncalibratedRule, UncertaintyRule
from vidtag_cli.pipeline.repeats import evidence_weights, split_held
from vidtag_cli.pipeline.session import Session
from vidtag_cli.pipeline.uncertainty import merge_places, objections_to, rank_points, strangeness, unit_rows
from vidtag_cli.pipeline.windows import EmbeddedFrames, frames_per_step
from vidtag_cli.track import Candidate, Track, TrackPoint

MAX_SPEED_KM_H = 250.0
"""What a camera on the ground may do, unless the analyst says otherwise: a fast train."""

MAX_PATH_DOUBT = 0.5
"""A place that more than half of all paths avoid is no answer, however the frames of its bin came out on average."""

_LEAST_MASS = 1e-6
JUMP_NATS = 8.0
"""What a step costs that no camera can make, at most: a path leaps, at a cut or a mistake, when a place is about 3,000
times as probable as those within reach."""


@dataclass(frozen=True, slots=True)
class PathRule:
    """What counts as plausible: ``max_speed_km_h`` of the camera, beside ``doubt_km`` about each step; and what a path
    says of its frames.

    With ``radii``, measured at this speed, a frame's circles go by its doubt. Without, they are its own, widened by how
    far the path moves it. Beyond ``max_radius50_km`` or ``max_radius95_km`` a frame abstains. ``step_s`` is the time
    between two frames of the model's pace: frames that are closer count for less, so that a second of video says as
    much, however many of its frames are analysed.
    """

    max_speed_km_h: float
    doubt_km: float
    place_radius_km: float
    max_radius50_km: float
    max_radius95_km: float
    step_s: float
    radii: RadiusTable | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DecodedPath:
    """The likeliest path: ``point_index`` (T,) int64, which of its points every frame is at; ``shares`` (T, K) float64,
    the share of all paths, weighted by their probabilities, that pass each point; and ``doubt`` (T,) float64 in [0, 1],
    the share of those that pass farther than a place from the likeliest.
    """

    point_index: np.ndarray
    shares: np.ndarray
    doubt: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class SearchedPoints:
    """The gallery points nearest to frames, best first: ``indices`` (T, K) int32, cosines ``scores`` (T, K) float32,
    their ``masses`` (T, K) float32 of the posterior, ``is_known`` (T,) whether the frame is of the kind the model
    knows, with enough others around it, and ``agrees`` (T,) whether these others say about the same.
    """

    indices: np.ndarray
    scores: np.ndarray
    masses: np.ndarray
    is_known: np.ndarray
    agrees: np.ndarray

    @classmethod
    def join(cls, parts: Sequence[SearchedPoints]) -> SearchedPoints:
        """Return the points of consecutive frames; without any part, of no frame."""
        if not parts:
            nothing = np.zeros((0, 1), np.float32)
            return cls(nothing.astype(np.int32), nothing, nothing, np.zeros(0, bool), np.zeros(0, bool))
        return cls(
            np.concatenate([part.indices for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.masses for part in parts]),
            np.concatenate([part.is_known for part in parts]),
            np.concatenate([part.agrees for part in parts]),
        )


def search_for_path(session: Session, embedded: EmbeddedFrames) -> SearchedPoints:
    """Return what a path through consecutive frames is chosen from: the points that Phase I finds for each of them.

    GeoRefiner has looked at the places of the other frames already, and a path would count them twice.
    """
    rule, outputs = session.rule, embedded.outputs
    path = rule.path if isinstance(rule, UncertaintyRule) else None
    scale = rule.posterior_scale if path is None else path.posterior_scale
    queries, lengths = unit_rows(outputs["first_embedding"])
    scores, indices, summary = rank_points(session, queries, scale)
    masses = point_mass(session.gallery, scores, indices, scale, summary.log_partition)
    disagreement_km = outputs["disagreement_km"]
    is_known = [
        strangeness(rule, facts.spread_levels, *doubt) is None
        for facts, *doubt in zip(
            embedded.facts,
            lengths.tolist(),
            outputs["domain_distance"].tolist(),
            disagreement_km.tolist(),
            objections_to(session, outputs),
            strict=True,
        )
    ]
    agrees = np.ones(len(is_known), bool)
    if isinstance(rule, UncertaintyRule):
        agrees = disagreement_km <= rule.max_disagreement_km
    return SearchedPoints(indices.astype(np.int32), scores, masses.astype(np.float32), np.array(is_known, bool), agrees)


def plausible_speed_km_h(rule: UncertaintyRule | UncalibratedRule) -> float:
    """Return the limit of speed to take when the analyst names none: the measured one, where there is one."""
    if isinstance(rule, UncertaintyRule) and rule.path is not None:
        return rule.path.max_speed_km_h
    return MAX_SPEED_KM_H


def path_rule(rule: UncertaintyRule | UncalibratedRule, max_speed_km_h: float, step_s: float) -> PathRule:
    """Return the rule for a model's tracks and a speed that the analyst takes for plausible.

    Measured circles hold at the speed they were measured at and at no other.
    """
    place_km = rule.place_radius_km
    if isinstance(rule, UncalibratedRule):
        return PathRule(max_speed_km_h, place_km, place_km, rule.max_radius50_km, math.inf, step_s)
    path = rule.path
    if path is None:
        return PathRule(max_speed_km_h, place_km, place_km, math.inf, rule.max_radius95_km, step_s)
    radii = path.radii if path.max_speed_km_h == max_speed_km_h else None
    return PathRule(max_speed_km_h, path.doubt_km, place_km, math.inf, rule.max_radius95_km, step_s, radii)


def smooth_track(
    track: Track, searched: SearchedPoints, gallery_latlon_deg: np.ndarray, rule: PathRule, top_k: int
) -> Track:
    """Return the track with each frame at that one of its searched points which the most plausible path takes.

    Every shot has a path of its own: at a cut the camera may be anywhere. ``searched`` has the track's frames,
    ``gallery_latlon_deg`` (G, 2) the places of its indices. Strange frames take no part. With measured radii any other
    frame is located or abstains by its doubt, unless the frames around it disagree. Without, a frame that abstained
    stays silent, though the path goes through it; one that moves gets circles that contain its old ones, so they hold
    the true place at least as often as was measured, and abstains where they become wider than the model allows. A
    picture that is held for several frames is one step of the path, and says no more than one frame.
    """
    points = list(track.points)
    frames_a_step = frames_per_step([point.media_time_s for point in points], rule.step_s)
    shots = np.array([point.shot for point in points], np.int64)
    for members in np.split(np.arange(len(points)), np.flatnonzero(np.diff(shots)) + 1):
        taking_part = members[searched.is_known[members]]
        weights = evidence_weights([points[number] for number in taking_part], frames_a_step)
        held = split_held([points[number] for number in taking_part])
        firsts = taking_part[[span.start for span in held]]
        latlon = gallery_latlon_deg[searched.indices[firsts]]
        exponents = np.array([weights[span].sum() for span in held]).reshape(-1, 1)
        times_s = _times_without_holding(points, [taking_part[span] for span in held])
        path = decode_path(latlon, searched.masses[firsts] ** exponents, times_s, rule)
        for number, row in _rows_of_frames(taking_part, held):
            is_measured = rule.radii is not None and bool(searched.agrees[number])
            if not is_measured and points[number].status != "ok":
                continue
            shares = path.shares[row] if is_measured else searched.masses[firsts[row]]
            at, scores = int(path.point_index[row]), searched.scores[firsts[row]]
            places = _candidates(latlon[row], scores, shares, rule.place_radius_km, at, top_k)
            if is_measured:
                points[number] = _measured(points[number], places, float(path.doubt[row]), rule)
            else:
                points[number] = _moved(points[number], places, rule)
    smoothing = f"viterbi (at most {rule.max_speed_km_h:g} km/h)"
    return replace(track, points=tuple(points), smoothing=smoothing)


def _times_without_holding(points: Sequence[TrackPoint], held: Sequence[np.ndarray]) -> np.ndarray:
    """Return the times (R,) of spans of frames on a clock that stands still while a picture is held: what lies between
    two of them is the time from the last frame of the one to the first of the other.
    """
    times_s, held_s = np.empty(len(held)), 0.0
    for row, span in enumerate(held):
        times_s[row] = points[span[0]].media_time_s - held_s
        held_s += points[span[-1]].media_time_s - points[span[0]].media_time_s
    return times_s


def _rows_of_frames(numbers: np.ndarray, held: Sequence[slice]) -> list[tuple[int, int]]:
    """Return each frame's number with the number of its span."""
    return [(number, row) for row, span in enumerate(held) for number in numbers[span].tolist()]


def decode_path(latlon_deg: np.ndarray, masses: np.ndarray, times_s: np.ndarray, rule: PathRule) -> DecodedPath:
    """Return the cheapest path through points (T, K, 2) of posterior masses (T, K) at rising times (T,).

    A point costs the negative logarithm of its mass. A step costs nothing within reach, which is the way at full speed
    and the doubt; beyond it costs one nat for each further doubt, ``JUMP_NATS`` at most.
    """
    # einsum adds up in one order; the product of a matrix and a vector depends on the threads of BLAS.
    frames, count = masses.shape
    if frames == 0:
        return DecodedPath(np.zeros(0, np.int64), np.zeros((0, count)), np.zeros(0))
    vectors = unit_vector(np.asarray(latlon_deg, dtype=np.float64))  # (T, K, 3)
    gain = np.log(np.maximum(masses.astype(np.float64), _LEAST_MASS))  # (T, K)
    best, came_from = gain[0], np.zeros((frames, count), np.int64)
    forward = np.empty((frames, count))  # probabilities of the places so far; each row sums to 1
    forward[0] = _normalized(gain[0])
    for t in range(1, frames):
        cost = _step_costs(vectors[t - 1], vectors[t], times_s[t] - times_s[t - 1], rule)  # (K before, K here)
        total = best[:, None] - cost
        came_from[t] = total.argmax(axis=0)
        best = total.max(axis=0) + gain[t]
        forward[t] = _normalized(np.log(np.einsum("k,kh->h", forward[t - 1], np.exp(-cost))) + gain[t])
    point_index = np.empty(frames, np.int64)
    shares, doubt = np.empty((frames, count)), np.empty(frames)
    point_index[-1] = best.argmax()
    later = np.ones(count)  # likelihood of all that follows, from each place
    for t in range(frames - 1, -1, -1):
        if t < frames - 1:
            point_index[t] = came_from[t + 1, point_index[t + 1]]
            cost = _step_costs(vectors[t], vectors[t + 1], times_s[t + 1] - times_s[t], rule)
            later = np.einsum("kn,n->k", np.exp(-cost), later * _normalized(gain[t + 1]))
            later /= later.max()
        share = forward[t] * later
        is_elsewhere = _distances_km(vectors[t], vectors[t, point_index[t], None])[:, 0] > rule.place_radius_km
        doubt[t] = share[is_elsewhere].sum() / share.sum()
        shares[t] = share / share.sum()
    return DecodedPath(point_index, shares, doubt)


def _distances_km(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return (K, M) kilometres between unit vectors (K, 3) and (M, 3); to a tenth of a metre, which is enough here."""
    return EARTH_RADIUS_KM * np.arccos(np.clip(here @ there.T, -1.0, 1.0))


def _step_costs(before: np.ndarray, here: np.ndarray, elapsed_s: float, rule: PathRule) -> np.ndarray:
    beyond_km = _distances_km(before, here) - rule.max_speed_km_h * elapsed_s / 3600.0 - rule.doubt_km
    return np.clip(beyond_km / rule.doubt_km, 0.0, JUMP_NATS)


def _normalized(logarithms: np.ndarray) -> np.ndarray:
    shares = np.exp(logarithms - logarithms.max())
    return shares / shares.sum()


def _candidates(
    latlon_deg: np.ndarray, scores: np.ndarray, shares: np.ndarray, place_radius_km: float, point_index: int, top_k: int
) -> list[Candidate]:
    """Return the place the path takes, and after it others, likeliest first: ``top_k`` in all.

    Of a frame's points (K, 2) with cosines (K,); the probability of a place is the sum of the ``shares`` (K,) of its
    points.
    """
    path_latlon_deg = latlon_deg[point_index]
    is_near = haversine_km(path_latlon_deg, latlon_deg) <= place_radius_km
    lat_deg, lon_deg = (float(value) for value in path_latlon_deg)
    path_place = Candidate(lat_deg, lon_deg, float(scores[point_index]), min(1.0, float(shares[is_near].sum())))
    order = np.flatnonzero(~is_near)[np.argsort(-shares[~is_near], kind="stable")]
    others = merge_places(latlon_deg[order], scores[order], shares[order], place_radius_km)
    return [path_place, *others][: max(1, top_k)]


def _measured(point: TrackPoint, places: list[Candidate], doubt: float, rule: PathRule) -> TrackPoint:
    if rule.radii is None:
        raise ValueError("a path without measured circles")
    if doubt > MAX_PATH_DOUBT:
        return _abstained(point, f"too uncertain on a path ({doubt:.0%} of all paths pass elsewhere)")
    radius50_km, radius95_km = rule.radii.radii_km(doubt)
    if radius95_km > rule.max_radius95_km:
        reason = f"too uncertain on a path (95 % radius {radius95_km:.0f} km, limit {rule.max_radius95_km:.0f} km)"
        return _abstained(point, reason)
    # What is near the path was added up for the doubt already, with distances to another last digit.
    places[0] = replace(places[0], probability=1.0 - doubt)
    return _at(point, places, 1000.0 * radius50_km, 1000.0 * radius95_km)


def _moved(point: TrackPoint, places: list[Candidate], rule: PathRule) -> TrackPoint:
    first, place = point.candidates[0], places[0]
    away_km = float(haversine_km(np.array([first.lat_deg, first.lon_deg]), np.array([place.lat_deg, place.lon_deg])))
    if away_km == 0.0:
        return point
    radius50_m, radius95_m = ((radius or 0.0) + 1000.0 * away_km for radius in (point.radius50_m, point.radius95_m))
    if radius50_m > 1000.0 * rule.max_radius50_km or radius95_m > 1000.0 * rule.max_radius95_km:
        return _abstained(point, f"the plausible path passes far from this frame's own place ({away_km:.0f} km)")
    return _at(point, places, radius50_m, radius95_m)


def _at(point: TrackPoint, places: list[Candidate], radius50_m: float, radius95_m: float) -> TrackPoint:
    place = places[0]
    return TrackPoint(
        point.frame_index, point.media_time_s, "ok", place.lat_deg, place.lon_deg, radius50_m, radius95_m,
        place.probability, tuple(places), shot=point.shot, repeats_frame=point.repeats_frame,
    )  # fmt: skip


def _abstained(point: TrackPoint, reason: str) -> TrackPoint:
    return TrackPoint(
        point.frame_index, point.media_time_s, "abstained", abstain_reason=reason, shot=point.shot,
        repeats_frame=point.repeats_frame,
    )  # fmt: skip
