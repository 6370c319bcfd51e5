"""Circles that hold for what a gate lets through: their tables fitted on flights as they are and on changed ones."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from training.config import TrainingConfig
from training.flyover.flights import draw_flights
from training.flyover.imagery import load_textures
from training.shift.bundle_copy import prepare_copy, write_copy
from training.shift.changes import KINDS, Change
from training.shift.films import film_changed
from training.shift.locate_film import embed_film
from vidtag_cli.calibration.circles import CLIPS_PER_BIN, measure_circles, radius_tables
from vidtag_cli.calibration.fit import gather_evidence, within_limits
from vidtag_cli.calibration.known_clips import join_clips, known_frames, searched_places
from vidtag_cli.calibration.known_frames import KnownFrames
from vidtag_cli.calibration.paths import PathStep, decode_paths
from vidtag_cli.calibration.statement import calibrated_statement
from vidtag_cli.errors import ModelError
from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.pipeline.calibration import PATH_TABLES, TABLES, MeasuredPath, UncertaintyRule
from vidtag_cli.pipeline.path import MAX_PATH_DOUBT
from vidtag_cli.pipeline.session import Session, open_session

_log = logging.getLogger("training")

FIT_STREAM, MEASURE_STREAM = 33, 43
CHANGED_FLIGHTS = 24
"""Of each kind of change, in fours of one strength."""

_OF_ONE_STRENGTH = 6
_FLIGHTS_AT_ONCE = 24
BINS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What is known of N frames of flights: ``clip`` (N,) int64, ``is_kept`` (N,) whether the program would answer
    whatever the circle, errors in km and what the radii go by, for frames by themselves and on a path.
    """

    clip: np.ndarray
    is_kept: np.ndarray
    errors_km: np.ndarray
    posterior_radius_km: np.ndarray
    path_errors_km: np.ndarray
    path_doubt: np.ndarray

    @classmethod
    def join(cls, parts: list[Answers]) -> Answers:
        """Return the frames of all parts, of which there is at least one; clips go on counting."""
        begins = np.cumsum([0, *(int(part.clip.max()) + 1 for part in parts)])
        clip = np.concatenate([part.clip + begin for part, begin in zip(parts, begins, strict=False)])
        names = [field.name for field in dataclasses.fields(cls) if field.name != "clip"]
        return cls(clip, *(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def write_circles(model: str, out: Path, config: TrainingConfig, flights: int, *, force: bool) -> str:
    """Write ``out`` (NAME.vidtag): the bundle ``model`` with radii fitted on new flights as they are and on changed
    ones, measured on as many others as they are; return what the bundle says of them.

    The scale of the posterior and all limits stay. Raises ModelError for a model that was never calibrated.
    """
    prepare_copy(out, force)
    session = open_session(model)
    rule, contract = session.rule, session.bundle.contract
    if not isinstance(rule, UncertaintyRule) or rule.path is None:
        raise ModelError(f"{session.bundle.path}: calibrate the model first, with paths")
    textures = load_textures()
    as_they_are = _answers(session, config, textures, FIT_STREAM, [("none", flights)])
    kinds = [(name, CHANGED_FLIGHTS) for name in KINDS if name != "none"]
    changed = _answers(session, config, textures, FIT_STREAM, kinds)
    tables = fit_circles(Answers.join([as_they_are, changed]))
    measured = measure(_answers(session, config, textures, MEASURE_STREAM, [("none", flights)]), tables, rule)
    counts = flights, flights
    reach = (
        f"all are of the training data's kind and places; the radii were fitted on {CHANGED_FLIGHTS} further flights "
        f"of each of {len(kinds)} kinds of change too, as far as the gate lets them through"
    )
    statement = calibrated_statement(counts, measured, "flights", rule.path.max_speed_km_h, reach)
    calibration = dataclasses.replace(
        contract.calibration, tables=contract.calibration.tables | tables, statement=statement, measured=measured,
        changes=(),
    )  # fmt: skip
    write_copy(session.bundle, out, dataclasses.replace(contract, calibration=calibration))
    return statement


def fit_circles(answers: Answers) -> dict[str, list[float]]:
    """Return the tables of radii of frames by themselves and on a path."""
    clip, is_kept = answers.clip, answers.is_kept
    bins = min(BINS, len(np.unique(clip[is_kept])) // CLIPS_PER_BIN)
    is_on_path = is_kept & (answers.path_doubt <= MAX_PATH_DOUBT)
    by_frame = radius_tables(TABLES, answers.posterior_radius_km, answers.errors_km, clip, is_kept, bins)
    return by_frame | radius_tables(PATH_TABLES, answers.path_doubt, answers.path_errors_km, clip, is_on_path, bins)


def measure(answers: Answers, tables: dict[str, list[float]], rule: UncertaintyRule) -> dict[str, float]:
    """Return what is measured of circles on flights that took no part in the fit, as a bundle stores it."""
    clip, limit_km = answers.clip, rule.max_radius95_km
    by_frame = measure_circles(
        TABLES, tables, answers.posterior_radius_km, answers.errors_km, clip, answers.is_kept, limit_km
    )
    is_on_path = answers.is_kept & (answers.path_doubt <= MAX_PATH_DOUBT)
    on_path = measure_circles(
        PATH_TABLES, tables, answers.path_doubt, answers.path_errors_km, clip, is_on_path, limit_km
    )
    counts = {"test_clips": float(len(np.unique(clip))), "test_frames": float(len(clip))}
    return by_frame | {f"path_{name}": value for name, value in on_path.items()} | counts


def _answers(
    session: Session, config: TrainingConfig, textures: Tensor, stream: int, kinds: list[tuple[str, int]]
) -> Answers:
    parts = []
    for name, flights in kinds:
        rng = np.random.default_rng((config.seed, stream, list(KINDS).index(name)))
        parts += [
            _answer_frames(session, frames) for frames in _known_films(session, config, textures, name, flights, rng)
        ]
        _log.info("%s: %.0f %% of the frames kept", name, 100.0 * parts[-1].is_kept.mean())
    return Answers.join(parts)


def _known_films(
    session: Session, config: TrainingConfig, textures: Tensor, name: str, count: int, rng: np.random.Generator
) -> Iterator[KnownFrames]:
    """Yield the frames of new flights beside the truth, a few flights at a time, each time at another strength."""
    at_once = _FLIGHTS_AT_ONCE if name == "none" else _OF_ONE_STRENGTH
    for begin in range(0, count, at_once):
        flights = draw_flights(config.flight_recipe(), min(at_once, count - begin), rng)
        change: Change = KINDS[name].make(float(rng.uniform(KINDS[name].low, KINDS[name].high)))
        film = film_changed(textures, flights, change, session.bundle.preprocess.frame_size_px, rng)
        embedded = embed_film(session, film)
        yield join_clips(
            known_frames(session, [clip], truth) for clip, truth in zip(embedded, flights.latlon_deg, strict=True)
        )


def _answer_frames(session: Session, frames: KnownFrames) -> Answers:
    rule = session.rule
    if not isinstance(rule, UncertaintyRule) or rule.path is None:
        raise ValueError("a model that was never calibrated with paths")
    path: MeasuredPath = rule.path
    places = searched_places(session)
    evidence = gather_evidence(places, frames, rule.posterior_scale)
    step = PathStep(path.max_speed_km_h, path.doubt_km, session.step_s)
    latlon_deg, doubt = decode_paths(places, frames, path.posterior_scale, step, rule.place_radius_km)
    return Answers(
        frames.clip,
        within_limits(frames, session.bundle.calibration.parameters),
        evidence.errors_km,
        evidence.posterior_radius_km,
        np.asarray(haversine_km(latlon_deg, frames.truth_latlon_deg)),
        doubt,
    )
