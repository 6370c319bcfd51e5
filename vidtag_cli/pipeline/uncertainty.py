"""From embeddings to estimates: candidates, radii, confidence, and the decision to say nothing (SPEC 3.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidtag_cli.gallery.posterior import PosteriorSummary, point_mass
from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.pipeline.calibration import UncalibratedRule, UncertaintyRule
from vidtag_cli.pipeline.credible_radius import credible_radii_km
from vidtag_cli.pipeline.ranking import rank_points
from vidtag_cli.pipeline.session import Session
from vidtag_cli.pipeline.windows import Outputs
from vidtag_cli.track import Candidate, TrackPoint
from vidtag_cli.video.batches import TakenFrame

QUERIES_AT_ONCE = 64

MIN_FRAMES_TO_AGREE = 4

RADIUS_SHARES = (0.5, 0.95)

BLANK_SPREAD_LEVELS = 2.0
"""A picture whose pixels differ by less shows nothing, whatever a model makes of it: black looks like the sea at night.
The darkest of the real clips at hand have 8 levels, in a fade 2.7.
"""


def estimate_points(session: Session, outputs: Outputs, taken: Sequence[TakenFrame], top_k: int) -> list[TrackPoint]:
    """Return the estimates of consecutive frames, the first of ``taken``, from the blended ``outputs`` of their
    windows.
    """
    embedding = _unit_rows(outputs["refined_embedding"])
    points: list[TrackPoint] = []
    for begin in range(0, len(embedding), QUERIES_AT_ONCE):
        chosen = slice(begin, begin + QUERIES_AT_ONCE)
        queries = embedding[chosen]
        scores, indices, summary = rank_points(session, queries, session.rule.posterior_scale)
        masses = point_mass(session.gallery, scores, indices, session.rule.posterior_scale, summary.log_partition)
        radii_km = _radii_km(session, queries, indices[:, 0], summary)
        for row in range(len(queries)):
            places = merge_places(
                session.gallery.latlon_deg[indices[row]], scores[row], masses[row], session.rule.place_radius_km
            )
            doubt = FrameDoubt(
                taken[begin + row].spread_levels,
                float(outputs["domain_distance"][begin + row]),
                float(outputs["disagreement_km"][begin + row]),
                float(radii_km[row, 0]),
                float(radii_km[row, 1]),
            )
            points.append(_estimate(session.rule, taken[begin + row], places[:top_k], doubt))
    return points


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


def search_for_path(session: Session, outputs: Outputs, taken: Sequence[TakenFrame]) -> SearchedPoints:
    """Return what a path through consecutive frames is chosen from: the points that Phase I finds for each of them.

    GeoRefiner has looked at the places of the other frames already, and a path would count them twice.
    """
    rule, gallery = session.rule, session.gallery
    path = rule.path if isinstance(rule, UncertaintyRule) else None
    scale = rule.posterior_scale if path is None else path.posterior_scale
    embedding = _unit_rows(outputs["first_embedding"])
    parts = []
    for begin in range(0, len(embedding), QUERIES_AT_ONCE):
        chosen = slice(begin, begin + QUERIES_AT_ONCE)
        scores, indices, summary = rank_points(session, embedding[chosen], scale)
        masses = point_mass(gallery, scores, indices, scale, summary.log_partition)
        known = [
            _strangeness(rule, frame.spread_levels, float(distance), float(disagreement_km)) is None
            for frame, distance, disagreement_km in zip(
                taken[chosen], outputs["domain_distance"][chosen], outputs["disagreement_km"][chosen], strict=True
            )
        ]
        agrees = np.ones(len(known), bool)
        if isinstance(rule, UncertaintyRule):
            agrees = outputs["disagreement_km"][chosen] <= rule.max_disagreement_km
        parts.append(
            SearchedPoints(indices.astype(np.int32), scores, masses.astype(np.float32), np.array(known), agrees)
        )
    return SearchedPoints.join(parts)


def _unit_rows(embedding: np.ndarray) -> np.ndarray:
    """Return unit vectors: a weighted mean of unit vectors from several windows is shorter than one."""
    unit: np.ndarray = embedding / np.linalg.norm(embedding, axis=-1, keepdims=True)
    return unit


def posterior_radius_km(summary: PosteriorSummary) -> np.ndarray:
    """Return (N,) the radius of a disc as large as the posterior's effective area."""
    return np.sqrt(summary.effective_area_km2 / np.pi)


def merge_places(
    latlon_deg: np.ndarray, scores: np.ndarray, masses: np.ndarray, place_radius_km: float
) -> list[Candidate]:
    """Return the places among gallery points (k, 2) that come best first; a point near a better one adds its mass to
    it.

    The probability of a place is the posterior mass of its points that were searched: never more than the true mass,
    and never normalised over the points returned.
    """
    places: list[Candidate] = []
    free = np.ones(len(scores), bool)
    for index in range(len(scores)):
        if not free[index]:
            continue
        near = free & (haversine_km(latlon_deg[index], latlon_deg) <= place_radius_km)
        free &= ~near
        probability = min(1.0, float(masses[near].sum()))
        lat, lon = latlon_deg[index]
        places.append(Candidate(float(lat), float(lon), float(scores[index]), probability))
    return places


@dataclass(frozen=True, slots=True)
class FrameDoubt:
    """What speaks against a frame's estimate: pictures that are blank or strange, neighbours that say otherwise, a wide
    posterior.
    """

    spread_levels: float
    domain_distance: float
    disagreement_km: float
    radius50_km: float
    radius95_km: float


def window_disagreement_km(latlon_deg: np.ndarray) -> np.ndarray:
    """Return for each place (T, 2) of a window's frames the median distance to the places of the other frames.

    Infinite when there are fewer than ``MIN_FRAMES_TO_AGREE``: a few frames cannot vouch for each other.
    """
    count = len(latlon_deg)
    if count < MIN_FRAMES_TO_AGREE:
        return np.full(count, np.inf, np.float32)
    distance_km = np.asarray(haversine_km(latlon_deg[:, None], latlon_deg[None]))
    others = distance_km[~np.eye(count, dtype=bool)].reshape(count, count - 1)
    return np.median(others, axis=1).astype(np.float32)


def _radii_km(session: Session, queries: np.ndarray, best: np.ndarray, summary: PosteriorSummary) -> np.ndarray:
    """Return (N, 2) the 50 % and the 95 % radius of frames whose best gallery points are ``best`` (N,).

    From the calibration, where there is one for this gallery; else the circles that hold these shares of the posterior.
    """
    rule, gallery = session.rule, session.gallery
    if isinstance(rule, UncertaintyRule) and rule.radii is not None:
        return np.array([rule.radii.radii_km(radius_km) for radius_km in posterior_radius_km(summary)])
    return credible_radii_km(
        gallery, queries, gallery.latlon_deg[best], rule.posterior_scale, summary.log_partition, RADIUS_SHARES
    )


def _strangeness(
    rule: UncertaintyRule | UncalibratedRule, spread_levels: float, domain_distance: float, disagreement_km: float
) -> str | None:
    """Return why nothing the model says of a frame counts, or None."""
    if spread_levels < BLANK_SPREAD_LEVELS:
        return f"blank picture (pixels differ by {spread_levels:.1f} levels, limit {BLANK_SPREAD_LEVELS:.0f})"
    if isinstance(rule, UncalibratedRule):
        return None
    if domain_distance > rule.max_domain_distance:
        return f"outside the model's domain (distance {domain_distance:.2f}, limit {rule.max_domain_distance:.2f})"
    if np.isinf(disagreement_km):
        return f"too few frames to confirm each other (fewer than {MIN_FRAMES_TO_AGREE})"
    return None


def _abstain_reason(rule: UncertaintyRule | UncalibratedRule, doubt: FrameDoubt) -> str | None:
    strangeness = _strangeness(rule, doubt.spread_levels, doubt.domain_distance, doubt.disagreement_km)
    if strangeness is not None:
        return strangeness
    if isinstance(rule, UncalibratedRule):
        return _reason_without_calibration(rule, doubt)
    if doubt.disagreement_km > rule.max_disagreement_km:
        return (
            f"frames disagree (median distance {doubt.disagreement_km:.0f} km, limit {rule.max_disagreement_km:.0f} km)"
        )
    if doubt.radius95_km > rule.max_radius95_km:
        return f"too uncertain (95 % radius {doubt.radius95_km:.0f} km, limit {rule.max_radius95_km:.0f} km)"
    return None


def _reason_without_calibration(rule: UncalibratedRule, doubt: FrameDoubt) -> str | None:
    if doubt.radius50_km <= rule.max_radius50_km:
        return None
    return f"posterior too flat (half of it within {doubt.radius50_km:.0f} km, limit {rule.max_radius50_km:.0f} km)"


def _estimate(
    rule: UncertaintyRule | UncalibratedRule, taken: TakenFrame, places: list[Candidate], doubt: FrameDoubt
) -> TrackPoint:
    index, time_s, shot, _ = taken
    reason = _abstain_reason(rule, doubt)
    if reason is not None:
        return TrackPoint(index, time_s, "abstained", abstain_reason=reason, shot=shot)
    best = places[0]
    return TrackPoint(
        index, time_s, "ok", best.lat_deg, best.lon_deg, 1000.0 * doubt.radius50_km, 1000.0 * doubt.radius95_km,
        best.probability, tuple(places), shot=shot,
    )  # fmt: skip
