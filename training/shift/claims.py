"""What a claim about a clip is worth, measured on flights: statistics under true claims and under false ones."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from training.config import TrainingConfig
from training.flyover.flights import draw_flights
from training.flyover.imagery import load_textures
from training.shift.bundle_copy import prepare_copy, write_copy
from training.shift.changes import Change
from training.shift.films import film_changed
from training.shift.locate_film import locate_clips
from vidtag_cli.calibration.claims import claim_tables, fit_claims, least_cost, log_likelihood_ratio_cost
from vidtag_cli.geo.sphere import destination_latlon, haversine_km
from vidtag_cli.pipeline.claim import claim_log_ratios
from vidtag_cli.pipeline.claim_verdict import KINDS, OFF_KM, ClaimTables, judge
from vidtag_cli.pipeline.session import Session, open_session
from vidtag_cli.pipeline.uncertainty import unit_rows
from vidtag_cli.track import TrackPoint

_log = logging.getLogger("training")

FIT_STREAM, TEST_STREAM = 32, 42
_FLIGHTS_AT_ONCE = 40

Statistics = dict[str, np.ndarray]
"""Kind of claim -> one statistic a flight (B,) float64, NaN where the gate left no frame or there was no such claim."""


def write_claims(model: str, out: Path, config: TrainingConfig, flights: int, *, force: bool) -> str:
    """Write ``out`` (NAME.vidtag): the bundle ``model`` with tables of claims, fitted on new flights; return how they
    do on as many others, a line of Markdown a kind of claim.
    """
    prepare_copy(out, force)
    session = open_session(model)
    fitted = claim_statistics(session, config, flights, FIT_STREAM)
    radius_km = session.rule.place_radius_km
    parameters, tables = fit_claims(fitted, radius_km)
    text = measure_claims(
        claim_tables(parameters, tables), claim_statistics(session, config, flights, TEST_STREAM), flights
    )
    contract = session.bundle.contract
    calibration = dataclasses.replace(
        contract.calibration,
        parameters=contract.calibration.parameters | parameters,
        tables=contract.calibration.tables | tables,
    )
    write_copy(session.bundle, out, dataclasses.replace(contract, calibration=calibration))
    return text


def claim_statistics(session: Session, config: TrainingConfig, count: int, stream: int) -> Statistics:
    """Return the statistics of ``count`` new flights under every kind of claim."""
    rng = np.random.default_rng((config.seed, stream))
    textures = load_textures()
    rows: list[Mapping[str, float]] = []
    while len(rows) < count:
        flights = draw_flights(config.flight_recipe(), min(_FLIGHTS_AT_ONCE, count - len(rows)), rng)
        frames = film_changed(textures, flights, Change(), session.bundle.preprocess.frame_size_px, rng)
        located = locate_clips(session, frames)
        rows += [
            _statistics_of(session, points, queries, truth, rng)
            for (points, queries), truth in zip(located, flights.latlon_deg, strict=True)
        ]
        _log.info("claims: %d of %d flights", len(rows), count)
    return {kind: np.array([row.get(kind, np.nan) for row in rows]) for kind in KINDS}


def _statistics_of(
    session: Session,
    points: list[TrackPoint],
    queries: np.ndarray,
    truth_latlon_deg: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Return the statistic of one flight under each claim, from its frames' final embeddings (T, E); none when no
    frame was located.
    """
    is_located = np.array([point.status == "ok" for point in points])
    bearing_deg, random = rng.uniform(0.0, 360.0), int(rng.integers(session.gallery.points))
    if not is_located.any():
        return {}
    unit, _ = unit_rows(queries[is_located])
    truth = truth_latlon_deg[is_located]
    claims = dict(_claims(session, [point for point in points if point.status == "ok"], truth, bearing_deg, random))
    ratios = claim_log_ratios(
        session.gallery, np.concatenate([unit] * len(claims)), session.rule.posterior_scale,
        np.concatenate(list(claims.values())), session.rule.place_radius_km,
    ).log_ratio  # fmt: skip
    means = ratios.reshape(len(claims), -1).mean(axis=1)
    return dict(zip(claims, means.tolist(), strict=True))


def _claims(
    session: Session, points: list[TrackPoint], truth: np.ndarray, bearing_deg: float, random: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the claimed positions (T, 2) of located frames: the true track, the track moved as a whole, a random place
    of the gallery, and the most probable of the frames' candidates that is nowhere near the truth.
    """
    yield "true", truth
    for off_km in OFF_KM:
        yield f"off_{off_km}", destination_latlon(truth, np.full(len(truth), bearing_deg), float(off_km))
    yield "random", np.broadcast_to(session.gallery.latlon_deg[random], truth.shape)
    wrong = [
        (place.probability, (place.lat_deg, place.lon_deg))
        for point in points
        for place in point.candidates
        if haversine_km(np.array([place.lat_deg, place.lon_deg]), truth).min() > 3 * session.rule.place_radius_km
    ]
    if wrong:
        yield "hardest", np.broadcast_to(np.array(max(wrong)[1]), truth.shape)


def measure_claims(tables: ClaimTables, statistics: Statistics, flights: int) -> str:
    """Return how often claims of each kind are found inconsistent or consistent, and what the ratios cost."""
    lines = ["| claim | flights tested | inconsistent | consistent | cannot say |", "| --- | --- | --- | --- | --- |"]
    ratios: dict[str, np.ndarray] = {}
    for kind in KINDS:
        values = statistics[kind][np.isfinite(statistics[kind])]
        judged = [judge(tables, float(value), 1) for value in values]
        ratios[kind] = np.array([judgement.likelihood_ratio or 1.0 for judgement in judged])
        shares = (
            f"{100 * np.mean([judgement.verdict == verdict for judgement in judged]):.1f} %" if judged else "-"
            for verdict in ("inconsistent", "consistent", "cannot say")
        )
        lines.append(f"| {kind} | {len(values)} of {flights} | {' | '.join(shares)} |")
    true, random = (statistics[kind][np.isfinite(statistics[kind])] for kind in ("true", "random"))
    cost = log_likelihood_ratio_cost(ratios["true"], ratios["random"])
    lines.append(f"\nCllr of true against random claims {cost:.3f} bits, its minimum {least_cost(true, random):.3f}.")
    return "\n".join(lines) + "\n"
