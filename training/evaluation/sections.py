"""The parts of an evaluation's report: tables of all models, and the breakdowns of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.evaluation.breakdown import error_kinds, error_scales, split_by_continent, split_by_length
from training.evaluation.place_accuracy import nearest_centre_places, place_accuracy
from training.evaluation.predictions import PLACE_LEVELS, Predictions, load_predictions
from training.evaluation.score import score_predictions
from training.evaluation.tables import (
    DEFAULT_COLUMNS,
    MeasuredRow,
    PaperTable,
    column_values,
    markdown_table,
    paper_tables,
    per_cent,
    table_document,
)
from vidtag_cli.errors import UsageError
from vidtag_cli.evaluation.bootstrap import Estimate

Section = tuple[str, Any]
"""A part of the report as Markdown and for JSON."""

UNCHECKED = "nobody compared the gallery with the queries"


def main_table(entries: Sequence[Entry]) -> PaperTable | None:
    """Return the first of the paper's tables on the one data set of all entries."""
    datasets = {entry.predictions.info.dataset.lower() for entry in entries}
    return next((table for table in paper_tables().values() if datasets == {table.dataset}), None)


def score_row(name: str, predictions: Predictions, seed: int, resamples: int, caution: str = "") -> MeasuredRow:
    """Return a table row of one model's predictions."""
    score = score_predictions(predictions, seed=seed, resamples=resamples)
    return MeasuredRow(name, column_values(score), score.clips, score.frames, score.coverage, caution)


def overall_section(entries: Sequence[Entry], paper: PaperTable | None, seed: int, resamples: int) -> Section:
    """Return the metrics of every entry, with the paper's rows above and what the paper does not print below."""
    rows = [score_row(e.name, e.predictions, seed, resamples, e.caution) for e in entries]
    columns = list(paper.columns) if paper else list(DEFAULT_COLUMNS)
    text = markdown_table(rows, columns, paper)
    if paper:
        further = [column for column in DEFAULT_COLUMNS if column not in paper.columns]
        text += "\nWhat the paper does not print:\n\n" + markdown_table(rows, further)
    return text, table_document(rows, columns, paper)


def place_sections(entries: Sequence[Entry], paper: PaperTable | None, seed: int, resamples: int) -> dict[str, Section]:
    """Return city, state, country and continent under each protocol that some entry allows."""
    paper = paper if paper and not set(paper.columns).isdisjoint(PLACE_LEVELS) else None
    by_protocol: dict[str, list[MeasuredRow]] = {}
    for entry in entries:
        for protocol, predicted in predicted_places(entry.predictions).items():
            row = _place_row(
                entry, predicted, place_accuracy(true_places(entry.predictions), predicted, seed, resamples)
            )
            by_protocol.setdefault(protocol, []).append(row)
    return {
        f"Places, {protocol}": (markdown_table(rows, PLACE_LEVELS, paper), table_document(rows, PLACE_LEVELS, paper))
        for protocol, rows in by_protocol.items()
    }


def _place_row(entry: Entry, predicted: np.ndarray, accuracy: Mapping[str, Estimate]) -> MeasuredRow:
    """Return a row in which a clip counts as located when it has a city."""
    predictions = entry.predictions
    located = float(np.mean(predicted[:, 0] != "")) if len(predicted) else float("nan")
    values = {level: per_cent(estimate) for level, estimate in accuracy.items()}
    return MeasuredRow(entry.name, values, len(predictions), len(predictions.truth_latlon_deg), located, entry.caution)


def predicted_places(predictions: Predictions) -> dict[str, np.ndarray]:
    """Return the predicted places (C, 4) under each protocol that the file has what it takes for."""
    if predictions.places is None:
        return {}
    by_protocol = {}
    if predictions.centres is not None:
        by_protocol["nearest centre"] = nearest_centre_places(predictions, predictions.centres)
    if predictions.predicted_places is not None:
        by_protocol["classifier"] = predictions.predicted_places
    return by_protocol


def true_places(predictions: Predictions) -> np.ndarray:
    """Return the true places (C, 4). Raises ValueError when the file has none."""
    if predictions.places is None:
        raise ValueError("predictions without places")
    return predictions.places


def entry_sections(entry: Entry, seed: int, resamples: int) -> dict[str, Section]:
    """Return one entry by continent, by length of the clip, and its errors by scale and kind."""
    sections: dict[str, Section] = {}
    for title, parts in (
        ("by continent", split_by_continent(entry.predictions)),
        ("by length in frames", split_by_length(entry.predictions)),
    ):
        rows = [score_row(name, part, seed, resamples, entry.caution) for name, part in parts.items()]
        columns = list(DEFAULT_COLUMNS)
        sections[f"{entry.name}, {title}"] = (markdown_table(rows, columns), table_document(rows, columns))
    breakdown = {"frames by scale": error_scales(entry.predictions), "clips by kind": error_kinds(entry.predictions)}
    lines = []
    for title, shares in breakdown.items():
        lines += [f"{title}: " + ", ".join(f"{name} {100.0 * share:.1f} %" for name, share in shares.items()), ""]
    sections[f"{entry.name}, errors"] = "\n".join(lines), breakdown
    return sections


@dataclass(frozen=True, slots=True)
class Entry:
    """One predictions file under the name its rows and figures carry."""

    name: str
    predictions: Predictions
    caution: str


def read_entries(files: Sequence[Path], allow_leak: bool) -> list[Entry]:
    """Return the files by model, and by gallery where one model comes twice.

    Raises UsageError for a gallery that holds query coordinates unless ``allow_leak``; InputError for a file that holds
    no predictions.
    """
    if not files:
        raise UsageError("no predictions files given: name at least one .npz that training wrote")
    loaded = [(path, load_predictions(path)) for path in files]
    entries: list[Entry] = []
    for path, predictions in loaded:
        info = predictions.info
        if info.leak is not None and info.leak.leaks and not allow_leak:
            raise UsageError(f"{path}: {info.leak.in_words()}. Give --allow-leak to evaluate it marked as such")
        caution = UNCHECKED if info.leak is None else info.leak.in_words() if info.leak.leaks else ""
        names = [other.info.model for _, other in loaded]
        name = info.model if names.count(info.model) == 1 else f"{info.model}; {info.gallery}"
        if any(entry.name == name for entry in entries):
            name = f"{name} ({path.stem})"
        entries.append(Entry(name, predictions, caution))
    return entries
