"""From embeddings to estimates: candidates, radii, confidence, and the decision to say nothing (SPEC 3.5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vidtag_cli.gallery.posterior import PosteriorSummary, point_mass, summarize_posterior
from vidtag_cli.gallery.search import search_gallery
from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.pipeline.session import Session
from vidtag_cli.pipeline.windows import Outputs
from vidtag_cli.track import Candidate, TrackPoint

SEARCHED_POINTS = 128
"""Gallery points looked at for each frame; neighbours among them are merged into places."""

QUERIES_AT_ONCE = 64


FrameTime = tuple[int, float]
"""A frame's number in its video, from 0, and its media time in seconds."""


def estimate_points(session: Session, outputs: Outputs, taken: Sequence[FrameTime], top_k: int) -> list[TrackPoint]:
    """Return the estimates of consecutive frames, the first of ``taken``, from the blended ``outputs`` of their
    windows.
    """
    embedding = outputs["refined_embedding"]
    # A weighted mean of unit vectors from several windows is shorter than one.
    embedding = embedding / np.linalg.norm(embedding, axis=-1, keepdims=True)
    points: list[TrackPoint] = []
    for begin in range(0, len(embedding), QUERIES_AT_ONCE):
        chosen = slice(begin, begin + QUERIES_AT_ONCE)
        queries = embedding[chosen]
        scores, indices = search_gallery(session.gallery, queries, SEARCHED_POINTS)
        summary = summarize_posterior(session.gallery, queries, session.rule.posterior_scale)
        masses = point_mass(session.gallery, scores, indices, session.rule.posterior_scale, summary.log_partition)
        for row in range(len(queries)):
            places = merge_places(
                session.gallery.latlon_deg[indices[row]], scores[row], masses[row], session.rule.place_radius_km
            )
            points.append(
                _estimate(
                    session, taken[begin + row], places[:top_k],
                    posterior_radius_km(summary)[row], float(outputs["domain_distance"][begin + row]),
                )
            )  # fmt: skip
    return points


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


def _estimate(
    session: Session, taken: FrameTime, places: list[Candidate], radius_km: float, domain_distance: float
) -> TrackPoint:
    rule = session.rule
    index, time_s = taken
    radius50_m = 1000.0 * rule.radius50_factor * radius_km
    radius95_m = 1000.0 * rule.radius95_factor * radius_km
    reason = None
    if domain_distance > rule.max_domain_distance:
        reason = f"outside the model's domain (distance {domain_distance:.2f}, limit {rule.max_domain_distance:.2f})"
    elif radius95_m > 1000.0 * rule.max_radius95_km:
        reason = f"too uncertain (95 % radius {radius95_m / 1000:.0f} km, limit {rule.max_radius95_km:.0f} km)"
    if reason is not None:
        return TrackPoint(index, time_s, "abstained", candidates=(), abstain_reason=reason)
    best = places[0]
    return TrackPoint(
        index, time_s, "ok", best.lat_deg, best.lon_deg, radius50_m, radius95_m, best.probability, tuple(places)
    )
