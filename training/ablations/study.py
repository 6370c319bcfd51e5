"""A whole study from the folder of a flyover run: every row for every seed, then tables and verdicts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.ablations.answer import answer, answer_path
from training.ablations.flyover_run import FlyoverRun, choose_flights, names_of_sets, open_run
from training.ablations.plan import AblationPlan, AblationRow
from training.ablations.recipe import Recipe, resolve
from training.ablations.score import FlightErrors, RowScore, flight_errors, score_row
from training.ablations.table import Scores, StudyRecord, study_document, study_markdown
from training.ablations.train import train_cells, train_retrieval
from training.ablations.verdict import judge
from training.baselines.classifier import CellClassifier
from training.checkpoint import write_json
from training.evaluation.predict import NamedGallery
from training.evaluation.predictions import Predictions
from training.flyover.flights import SPACING_KM, flyover_gallery
from training.model.vidtag import VidTag
from vidtag_cli.errors import UsageError
from vidtag_cli.files import replace_file

_log = logging.getLogger("training")

Answers = Mapping[str, Predictions]
"""Name of a set of flights -> what one row and seed says of them."""


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """How large a study is: seeds, length of the trainings against the preset's, and the step of the gallery."""

    seeds: int = 3
    steps_factor: float = 1.0
    spacing_km: float = SPACING_KM

    def __post_init__(self) -> None:
        if self.seeds < 1 or not self.steps_factor > 0.0 or not self.spacing_km > 0.0:
            raise UsageError("a study has at least one seed, and its steps factor and gallery step are above 0")


def run_study(run: Path, out: Path, plan: AblationPlan, rows: Sequence[AblationRow], options: StudyOptions,
              preset: str | None = None) -> Path:  # fmt: skip
    """Train and evaluate rows on the features of a flyover ``run`` and return the Markdown file of the tables.

    Everything lies under ``out``; what is finished there is kept and what was stopped goes on. Tables are written anew
    after every seed, with all rows of the plan that are finished in these settings. ``preset`` is that of the run, by
    default read from its final folder. Raises InputError for a folder that is no flyover run.
    """
    subsets = [subset for row in plan.row for subset in plan.subsets_of(row.name)]
    opened = open_run(run, names_of_sets(subsets), preset)
    places = flyover_gallery(opened.preset.flight_recipe(), options.spacing_km)
    gallery = NamedGallery(f"{options.spacing_km:g} km grid", places, options.spacing_km)
    for row in rows:  # a bad row fails before the first is trained
        resolve(row, opened.preset, 0, options.steps_factor, opened.hashes)
    rows = [row for row in plan.row if row in rows or _is_finished(row, plan, opened, options, gallery, out)]
    answers: dict[str, list[Answers]] = {row.name: [] for row in rows}
    for number in range(options.seeds):
        for row in rows:
            recipe = resolve(row, opened.preset, number, options.steps_factor, opened.hashes)
            names = names_of_sets(plan.subsets_of(row.name))
            answers[row.name].append(_answer_row(recipe, opened, names, gallery, out))
            _log.info("seed %d of %d: %s is done", number + 1, options.seeds, row.name)
        scores = _score(plan, rows, answers, opened)
        _write(plan, rows, scores, _record(opened, options, number + 1, gallery), out)
    return out / "ablations.md"


def _is_finished(
    row: AblationRow, plan: AblationPlan, run: FlyoverRun, options: StudyOptions, gallery: NamedGallery, out: Path
) -> bool:
    """Return whether all that a row would say is there already."""
    recipes = [resolve(row, run.preset, seed, options.steps_factor, run.hashes) for seed in range(options.seeds)]
    names = names_of_sets(plan.subsets_of(row.name))
    return all(answer_path(recipe, run.sets[name], gallery, out).is_file() for recipe in recipes for name in names)


def _answer_row(recipe: Recipe, run: FlyoverRun, names: Sequence[str], gallery: NamedGallery, out: Path) -> Answers:
    """Return the predictions of one row and seed on each set of flights; it is trained once, and only if needed."""
    trained: list[VidTag | CellClassifier] = []

    def train() -> VidTag | CellClassifier:
        if not trained:
            is_retrieval = recipe.row.cells is None
            trained.append(
                train_retrieval(recipe, run, out) if is_retrieval else train_cells(recipe, run.sets["train"], out)
            )
        return trained[0]

    return {name: answer(recipe, train, run.sets[name], gallery, out) for name in names}


def _score(
    plan: AblationPlan,
    rows: Sequence[AblationRow],
    answers: Mapping[str, Sequence[Answers]],
    run: FlyoverRun,
) -> Scores:
    """Return the scores of each subset by row; a subset that no flight is of is left out, with a warning."""
    scores: dict[str, dict[str, RowScore]] = {}
    for row in rows:
        for subset in plan.subsets_of(row.name):
            flights = choose_flights(subset, run.sets, plan.near_antimeridian_km)
            if not any(mask.any() for _, mask in flights):
                _log.warning("%s: no flight is of this subset", subset)
                continue
            by_seed = [_errors(predicted, flights) for predicted in answers[row.name]]
            scores.setdefault(subset, {})[row.name] = score_row(by_seed)
    return scores


def _write(plan: AblationPlan, rows: Sequence[AblationRow], scores: Scores, record: StudyRecord, out: Path) -> None:
    verdicts = [judge(claim, scores.get(claim.subset, {})) for claim in plan.claim]
    titles = {row.name: row.title for row in rows}
    write_json(out / "ablations.json", study_document(record, plan, scores, verdicts, titles))
    replace_file(out / "ablations.md", study_markdown(record, plan, scores, verdicts, titles).encode())


def _errors(predicted: Answers, flights: Sequence[tuple[str, np.ndarray]]) -> FlightErrors:
    return flight_errors([predicted[name].select(mask) for name, mask in flights if mask.any()])


def _record(run: FlyoverRun, options: StudyOptions, seeds: int, gallery: NamedGallery) -> StudyRecord:
    phases = run.preset.phase_one, run.preset.phase_two
    steps = [max(1, round(phase.steps * options.steps_factor)) for phase in phases]
    return StudyRecord({
        "preset": run.preset.name,
        "seeds": seeds,
        "steps_factor": options.steps_factor,
        "phase_one_steps": steps[0],
        "phase_two_steps": steps[1],
        "training_flights": len(run.sets["train"].store),
        "gallery": f"{gallery.name}, {len(gallery.latlon_deg)} places",
        "backbones": run.hashes["features"][:16],
        "what_a_seed_decides": "heads, order of the flights, dropout; backbones, features and the location encoder's "
        "start are the run's",
    })  # fmt: skip
