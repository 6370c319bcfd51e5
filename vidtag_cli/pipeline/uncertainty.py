"""From embeddings to estimates: candidates, radii, confidence, and the decision to say nothing (docs/method.md 3.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidtag_cli.errors import ModelError
from vidtag_cli.gallery.posterior import PosteriorSummary, point_mass, search_with_posterior
from vidtag_cli.gallery.search import checked_queries, rescore_points, score_blocks
from vidtag_cli.gallery.store import Gallery
from vidtag_cli.geo.sphere import EARTH_RADIUS_KM, haversine_km
from vidtag_cli.pipeline.calibration import COUNTRY_KM, UncalibratedRule, UncertaintyRule
from vidtag_cli.pipeline.session import Session
from vidtag_cli.pipeline.windows import EmbeddedFrames, Outputs
from vidtag_cli.track import Candidate, TrackPoint
from vidtag_cli.video.batches import FrameFacts

SEARCHED_POINTS = 128
"""Gallery points looked at for each frame; neighbours among them are merged into places."""

MIN_FRAMES_TO_AGREE = 4

RADIUS_SHARES = (0.5, 0.95)

SHORTEST_EMBEDDING = 1e-3
"""Of means of unit vectors: windows whose answers cancel each other out say nothing, and rounding decides the rest."""

BLANK_SPREAD_LEVELS = 2.0
"""A picture whose pixels differ by less shows nothing, whatever a model makes of it: black looks like the sea at night.
The darkest of the real clips at hand have 8 levels, in a fade 2.7.
"""

FARTHEST_KM = float(np.pi * EARTH_RADIUS_KM)

_EDGES_KM = np.geomspace(0.1, FARTHEST_KM, 1227)
"""Distances are counted in bins one per cent wide, so memory is the same for every gallery and posterior."""

_NEGLIGIBLE_LOG_MASS = -25.0
"""Points with less mass (1e-11) are not measured: ten million of them would add up to a ten-thousandth."""


def estimate_points(session: Session, embedded: EmbeddedFrames, top_k: int) -> list[TrackPoint]:
    """Return the estimates of consecutive frames, from one search through the gallery."""
    rule, gallery, outputs = session.rule, session.gallery, embedded.outputs
    queries, lengths = unit_rows(outputs["refined_embedding"])
    scores, indices, summary = rank_points(session, queries, rule.posterior_scale)
    masses = point_mass(gallery, scores, indices, rule.posterior_scale, summary.log_partition)
    radii_km = _radii_km(session, queries, indices[:, 0], summary)
    objections = objections_to(session, outputs)
    points = []
    for row, facts in enumerate(embedded.facts):
        places = merge_places(gallery.latlon_deg[indices[row]], scores[row], masses[row], rule.place_radius_km)
        doubt = FrameDoubt(
            facts.spread_levels,
            float(lengths[row]),
            float(outputs["domain_distance"][row]),
            float(outputs["disagreement_km"][row]),
            float(radii_km[row, 0]),
            float(radii_km[row, 1]),
            objections[row],
        )
        points.append(_estimate(rule, facts, places[:top_k], doubt))
    return points


def unit_rows(embedding: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return unit vectors (N, E) of embeddings, and the lengths (N,) that these had.

    A weighted mean of unit vectors from several windows is shorter than one. One too short to have a direction, see
    ``SHORTEST_EMBEDDING``, becomes an arbitrary unit vector, and so does one that is not finite, whose length is given
    as 0: whoever searches for them must look at the lengths.
    """
    lengths = np.linalg.norm(embedding, axis=-1)
    lengths = np.where(np.isfinite(lengths), lengths, 0.0)
    has_direction = lengths >= SHORTEST_EMBEDDING
    unit = np.zeros_like(embedding)
    unit[~has_direction, 0] = 1.0
    unit[has_direction] = embedding[has_direction] / lengths[has_direction, None]
    return unit, lengths


def rank_points(
    session: Session, queries: np.ndarray, posterior_scale: float
) -> tuple[np.ndarray, np.ndarray, PosteriorSummary]:
    """Return cosines (N, k) float32, best first, and indices (N, k) int64 of the points nearest to the embeddings of
    frames (N, E), and the summary of their posteriors; k is ``SEARCHED_POINTS``, or the points there are.

    A model that sees each frame by itself gives single gallery points, as the package it comes from does, so their
    order is that of float32. A ``vidtag`` bundle's radii were calibrated on the stored embeddings and go by these.
    """
    scores, indices, summary = search_with_posterior(session.gallery, queries, SEARCHED_POINTS, posterior_scale)
    if session.bundle.kind == "geoclip":
        scores, indices = rescore_points(session.gallery, queries, indices, session.embed_places)
    _check_search(session.gallery, scores, summary)
    return scores, indices, summary


def _check_search(gallery: Gallery, scores: np.ndarray, summary: PosteriorSummary) -> None:
    """Raise ModelError for a search that gave something else than numbers: one such point spoils every posterior."""
    numbers = (scores, summary.log_partition, summary.entropy_nat)
    if not all(np.isfinite(values).all() for values in numbers):
        raise ModelError(
            f"gallery {gallery.contract.origin.source}: the search gives values that are not finite: build it again"
        )


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


def posterior_radius_km(summary: PosteriorSummary) -> np.ndarray:
    """Return (N,) the radius of a disc as large as the posterior's effective area."""
    return np.sqrt(summary.effective_area_km2 / np.pi)


def credible_radii_km(
    gallery: Gallery,
    queries: np.ndarray,
    centres_latlon_deg: np.ndarray,
    logit_scale: float,
    log_partition: np.ndarray,
    shares: Sequence[float],
) -> np.ndarray:
    """Return (N, len(shares)) kilometres: the circles around centres (N, 2) that hold these shares of the posteriors.

    ``log_partition`` (N,) is that of :func:`~vidtag_cli.gallery.posterior.summarize_posterior`. A point's mass counts
    as inside when all of the area it stands for is, taken as a disc: a single point is no position without extent.
    Radii are rounded up, by at most one per cent.
    """
    queries = checked_queries(gallery, queries)
    log_area = gallery.log_cell_area()
    extent_km = np.sqrt(np.exp(log_area) / np.pi)
    mass = np.zeros((len(queries), len(_EDGES_KM)))
    for start, scores in score_blocks(gallery, queries):
        stop = start + scores.shape[1]
        log_mass = scores * logit_scale + log_area[start:stop] - log_partition[:, None]
        for row, centre in enumerate(centres_latlon_deg):
            heavy = np.flatnonzero(log_mass[row] > _NEGLIGIBLE_LOG_MASS)
            reach_km = haversine_km(centre, gallery.latlon_deg[start:stop][heavy]) + extent_km[start:stop][heavy]
            bins = np.searchsorted(_EDGES_KM, np.minimum(reach_km, FARTHEST_KM))
            mass[row] += np.bincount(bins, np.exp(log_mass[row, heavy]), minlength=len(_EDGES_KM))
    inside = np.cumsum(mass, axis=1)
    inside /= inside[:, -1:]
    return np.stack([_EDGES_KM[(inside >= share).argmax(axis=1)] for share in shares], axis=-1)


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


def objections_to(session: Session, outputs: Outputs) -> list[str | None]:
    """Return for each frame why it is not of the model's kind, or why the model contradicts itself; None where neither
    is so or was asked.
    """
    if "moved_km" in outputs:
        return [_objection_to_move(float(moved_km)) for moved_km in outputs["moved_km"]]
    if session.gate is None:
        return [None] * len(outputs["disagreement_km"])
    pairs = zip(outputs["kind_logits"], outputs["window_signs"], strict=True)
    return [session.gate.objection(kind_logits, signs) for kind_logits, signs in pairs]


def _objection_to_move(moved_km: float) -> str | None:
    if moved_km <= COUNTRY_KM:
        return None
    return f"no place that stays (harmless changes of the picture move it by {moved_km:.0f} km, limit {COUNTRY_KM:.0f})"


@dataclass(frozen=True, slots=True)
class FrameDoubt:
    """What speaks against a frame's estimate: pictures that are blank or strange, neighbours that say otherwise, a wide
    posterior.
    """

    spread_levels: float
    embedding_length: float
    domain_distance: float
    disagreement_km: float
    radius50_km: float
    radius95_km: float
    objection: str | None = None


def strangeness(
    rule: UncertaintyRule | UncalibratedRule,
    spread_levels: float,
    embedding_length: float,
    domain_distance: float,
    disagreement_km: float,
    objection: str | None,
) -> str | None:
    """Return why nothing the model says of a frame counts, or None. What is no number is within no limit."""
    if not spread_levels >= BLANK_SPREAD_LEVELS:
        return f"blank picture (pixels differ by {spread_levels:.1f} levels, limit {BLANK_SPREAD_LEVELS:.0f})"
    if not embedding_length >= SHORTEST_EMBEDDING:
        return f"no answer of the model (its windows cancel out to a length of {embedding_length:.1g})"
    if objection is not None:
        return objection
    if isinstance(rule, UncalibratedRule):
        return None
    if not domain_distance <= rule.max_domain_distance:
        return f"outside the model's domain (distance {domain_distance:.2f}, limit {rule.max_domain_distance:.2f})"
    if not np.isfinite(disagreement_km):
        return f"too few frames to confirm each other (fewer than {MIN_FRAMES_TO_AGREE} different pictures)"
    return None


def _abstain_reason(rule: UncertaintyRule | UncalibratedRule, doubt: FrameDoubt) -> str | None:
    strange = strangeness(
        rule, doubt.spread_levels, doubt.embedding_length, doubt.domain_distance, doubt.disagreement_km, doubt.objection
    )
    if strange is not None:
        return strange
    if isinstance(rule, UncalibratedRule):
        return _reason_without_calibration(rule, doubt)
    if not doubt.disagreement_km <= rule.max_disagreement_km:
        return (
            f"frames disagree (median distance {doubt.disagreement_km:.0f} km, limit {rule.max_disagreement_km:.0f} km)"
        )
    if not doubt.radius95_km <= rule.max_radius95_km:
        return f"too uncertain (95 % radius {doubt.radius95_km:.0f} km, limit {rule.max_radius95_km:.0f} km)"
    return None


def _reason_without_calibration(rule: UncalibratedRule, doubt: FrameDoubt) -> str | None:
    if doubt.radius50_km <= rule.max_radius50_km:
        return None
    return f"posterior too flat (half of it within {doubt.radius50_km:.0f} km, limit {rule.max_radius50_km:.0f} km)"


def _estimate(
    rule: UncertaintyRule | UncalibratedRule, facts: FrameFacts, places: list[Candidate], doubt: FrameDoubt
) -> TrackPoint:
    reason = _abstain_reason(rule, doubt)
    if reason is not None:
        return TrackPoint(facts.source_index, facts.media_time_s, "abstained", abstain_reason=reason,
                          shot=facts.shot, repeats_frame=facts.repeats)  # fmt: skip
    best = places[0]
    return TrackPoint(
        facts.source_index, facts.media_time_s, "ok", best.lat_deg, best.lon_deg,
        1000.0 * doubt.radius50_km, 1000.0 * doubt.radius95_km, best.probability, tuple(places), shot=facts.shot,
        repeats_frame=facts.repeats,
    )  # fmt: skip
