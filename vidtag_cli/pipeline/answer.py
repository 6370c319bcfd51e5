"""The answer for a shot and for a whole video (docs/method.md 3.9): the frames are evidence, and the question is where
this was filmed.

The belief is the weighted mean of what the frames say, with the weights of ``repeats``: more frames that say the same
give no more certainty than one of them, and frames that abstained keep their share for "cannot say".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from vidtag_cli.geo.land import SEA, country_index, country_names
from vidtag_cli.geo.places import continents_of
from vidtag_cli.geo.sphere import EARTH_RADIUS_KM, centroid_latlon, haversine_km, unit_vector
from vidtag_cli.pipeline.repeats import evidence_weights
from vidtag_cli.pipeline.windows import frames_per_step
from vidtag_cli.track import Answer, Area, FrameSpan, Track, TrackPoint, reason_kind

COVERED_SHARE = 0.95
"""Of an area's belief, what its circle holds; a frame's belief is inside when all of its 95 % circle is."""

LEAST_SHARE = 0.01
MOST_AREAS = 10
"""An area with less belief, or beyond so many, counts to "elsewhere"."""

NAMED_SHARE = 0.9
MOST_COUNTRIES = 3
"""Countries name an area until they hold so much of its belief."""

AT_SEA = "at sea"


@dataclass(frozen=True, slots=True, eq=False)
class _Belief:
    """Places of frames with the share of the belief in each: ``frame`` (M,) is the number among the points, ``latlon``
    (M, 2), ``share`` (M,), ``radius_m`` (M,) around each, ``is_first`` (M,) whether it is its frame's position.
    """

    frame: np.ndarray
    latlon_deg: np.ndarray
    share: np.ndarray
    radius_m: np.ndarray
    is_first: np.ndarray


def with_answer(track: Track, step_s: float, place_radius_km: float) -> Track:
    """Return the track with the answers for the video and for each of its shots.

    ``step_s`` is the time between two frames of the model's pace, ``place_radius_km`` how near two positions are one
    place.
    """
    frames_a_step = frames_per_step([point.media_time_s for point in track.points], step_s)
    shots = tuple(
        answer_for(list(points), frames_a_step, place_radius_km, shot)
        for shot, points in groupby(track.points, key=lambda point: point.shot)
    )
    return replace(track, answer=answer_for(track.points, frames_a_step, place_radius_km), shot_answers=shots)


def answer_for(
    points: Sequence[TrackPoint], frames_a_step: int, place_radius_km: float, shot: int | None = None
) -> Answer:
    """Return where frames were filmed by all that they say; ``frames_a_step`` is that of ``evidence_weights``."""
    weights = evidence_weights(points, frames_a_step)
    counted = float(weights.sum())
    if not points:
        return Answer((), 0.0, 1.0, (("no frame was analysed", 1.0),), 0, 0.0, shot)
    shares = weights / counted
    reasons: dict[str, float] = {}
    for point, share in zip(points, shares.tolist(), strict=True):
        if point.abstain_reason is not None:
            kind = reason_kind(point.abstain_reason)
            reasons[kind] = reasons.get(kind, 0.0) + share
    cannot_say = min(1.0, sum(reasons.values()))
    areas = _areas(points, _belief(points, shares, place_radius_km), place_radius_km)
    elsewhere = max(0.0, 1.0 - cannot_say - sum(area.share for area in areas))
    by_weight = tuple(sorted(reasons.items(), key=lambda item: -item[1]))
    return Answer(areas, elsewhere, cannot_say, by_weight, len(points), counted, shot)


def _belief(points: Sequence[TrackPoint], shares: np.ndarray, place_radius_km: float) -> _Belief:
    """Return the places that located frames name. Around its position a frame's own circle counts, around a candidate
    the extent of a place.
    """
    frame, latlon, share, radius_m, is_first = [], [], [], [], []
    for number, point in enumerate(points):
        if point.status != "ok":
            continue
        for rank, place in enumerate(point.candidates):
            own_m = point.radius95_m if rank == 0 and point.radius95_m is not None else 1000.0 * place_radius_km
            frame.append(number)
            latlon.append((place.lat_deg, place.lon_deg))
            share.append(shares[number] * place.probability)
            radius_m.append(own_m)
            is_first.append(rank == 0)
    return _Belief(
        np.array(frame, np.int64), np.array(latlon, np.float64).reshape(-1, 2), np.array(share, np.float64),
        np.array(radius_m, np.float64), np.array(is_first, bool),
    )  # fmt: skip


def _areas(points: Sequence[TrackPoint], belief: _Belief, place_radius_km: float) -> tuple[Area, ...]:
    label = _labels(points, belief, place_radius_km)
    total = np.bincount(label, belief.share) if label.size else np.zeros(0)
    order = np.argsort(-total, kind="stable")[:MOST_AREAS]
    return tuple(
        _area(points, belief, np.flatnonzero(label == number)) for number in order if total[number] >= LEAST_SHARE
    )


def _labels(points: Sequence[TrackPoint], belief: _Belief, place_radius_km: float) -> np.ndarray:
    """Return the area (M,) int64 of each place.

    The positions of frames that are one place, or that follow each other on the track with their 50 % circles touching,
    are one area. Another candidate belongs to the area of the position next to it, when it is one place with it; those
    left over gather around the strongest of them.
    """
    label = np.full(len(belief.share), -1, np.int64)
    firsts = np.flatnonzero(belief.is_first)
    label[firsts] = _chained(points, belief, firsts, place_radius_km)
    vectors = unit_vector(belief.latlon_deg)
    least_cosine = np.cos(place_radius_km / EARTH_RADIUS_KM)
    leaders = list(firsts)
    others = np.flatnonzero(~belief.is_first)
    for number in others[np.argsort(-belief.share[others], kind="stable")]:
        cosine = vectors[leaders] @ vectors[number]
        nearest = int(cosine.argmax())
        if cosine[nearest] >= least_cosine:
            label[number] = label[leaders[nearest]]
        else:
            label[number] = label.max() + 1
            leaders.append(number)
    return label


def _chained(points: Sequence[TrackPoint], belief: _Belief, firsts: np.ndarray, place_radius_km: float) -> np.ndarray:
    """Return the area (F,) int64 of the positions of located frames."""
    vectors = unit_vector(belief.latlon_deg[firsts])
    follows = np.zeros(len(firsts), bool)  # whether the next position is its continuation on the track
    follows[:-1] = [
        _touch(points[belief.frame[one]], points[belief.frame[other]])
        for one, other in zip(firsts[:-1], firsts[1:], strict=True)
    ]
    least_cosine = np.cos(place_radius_km / EARTH_RADIUS_KM)
    area = np.full(len(firsts), -1, np.int64)
    for seed in range(len(firsts)):
        if area[seed] >= 0:
            continue
        waiting, area[seed] = [seed], seed
        while waiting:
            here = waiting.pop()
            near = vectors @ vectors[here] >= least_cosine
            near[here + 1 : here + 2] |= follows[here]
            near[max(0, here - 1) : here] |= follows[max(0, here - 1) : here]
            fresh = np.flatnonzero(near & (area < 0))
            area[fresh] = seed
            waiting += fresh.tolist()
    return np.unique(area, return_inverse=True)[1].astype(np.int64)


def _touch(point: TrackPoint, after: TrackPoint) -> bool:
    """Return whether the 50 % circles of two located frames of one shot touch."""
    if point.shot != after.shot or point.radius50_m is None or after.radius50_m is None:
        return False
    here, there = (np.array([one.lat_deg, one.lon_deg], np.float64) for one in (point, after))
    return 1000.0 * float(haversine_km(here, there)) <= point.radius50_m + after.radius50_m


def _area(points: Sequence[TrackPoint], belief: _Belief, members: np.ndarray) -> Area:
    latlon_deg, share = belief.latlon_deg[members], belief.share[members]
    total = float(share.sum())
    try:
        centre = np.asarray(centroid_latlon(latlon_deg, share), dtype=np.float64)
    except ValueError:  # places all around the globe: no centre but the strongest of them
        centre = latlon_deg[int(share.argmax())]
    reach_m = 1000.0 * np.asarray(haversine_km(centre, latlon_deg)) + belief.radius_m[members]
    order = np.argsort(reach_m, kind="stable")
    covered = np.cumsum(share[order]) >= COVERED_SHARE * total * (1.0 - 1e-9)
    radius_m = min(float(reach_m[order][int(covered.argmax())]), 1000.0 * np.pi * EARTH_RADIUS_KM)
    speaking = np.sort(belief.frame[members[belief.is_first[members]]])
    return Area(
        float(centre[0]), float(centre[1]), radius_m, total, _place_name(latlon_deg, share, centre),
        _spans(points, speaking.tolist()),
    )  # fmt: skip


def _place_name(latlon_deg: np.ndarray, share: np.ndarray, centre_latlon_deg: np.ndarray) -> str:
    """Return the countries that hold most of an area's belief, and the continent of its centre."""
    by_country = np.bincount(country_index(latlon_deg), share)
    names, named = [], 0.0
    for country in np.argsort(-by_country, kind="stable")[:MOST_COUNTRIES].tolist():
        if by_country[country] <= 0.0 or named >= NAMED_SHARE * share.sum():
            break
        names.append(AT_SEA if country == SEA else country_names()[country])
        named += by_country[country]
    names.sort(key=lambda name: name == AT_SEA)  # a coast is known by its countries
    return f"{', '.join(names)} ({continents_of(centre_latlon_deg[None])[0]})"


def _spans(points: Sequence[TrackPoint], numbers: Sequence[int]) -> tuple[FrameSpan, ...]:
    """Return the unbroken spans of frames with these rising numbers among all that were analysed, cut between shots."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1 and points[number].shot == points[number - 1].shot:
            spans[-1].append(number)
        else:
            spans.append([number])
    return tuple(
        FrameSpan(
            points[span[0]].frame_index, points[span[-1]].frame_index, points[span[0]].media_time_s,
            points[span[-1]].media_time_s, len(span),
        )
        for span in spans
    )  # fmt: skip
