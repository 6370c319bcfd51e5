"""``python -m training evaluate``: predictions files in, tables and figures out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from training.evaluation.figures.canvas import require_matplotlib
from training.evaluation.figures.charts import draw_confusion, draw_error_breakdown, draw_length_boxes
from training.evaluation.figures.feature_plot import clips_of_one_city, draw_feature_plot
from training.evaluation.figures.trajectory_map import draw_trajectories
from training.evaluation.place_accuracy import confusion_of_hardest
from training.evaluation.predictions import PLACE_LEVELS
from training.evaluation.sections import (
    Entry,
    entry_sections,
    main_table,
    overall_section,
    place_sections,
    predicted_places,
    read_entries,
    true_places,
)
from training.evaluation.tables import find_paper_table
from vidtag_cli.evaluation.bootstrap import RESAMPLES
from vidtag_cli.files import replace_file


def evaluate(
    files: Sequence[Path],
    out: Path,
    *,
    paper_table: str | None = None,
    allow_leak: bool = False,
    draw: bool = True,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Path:
    """Write ``evaluation.md``, ``evaluation.json`` and ``figures/`` into ``out`` and return the Markdown file.

    ``paper_table`` sets a table of the paper beside ours; without it the main table of the data set, if the paper has
    one. Raises UsageError for a gallery that holds query coordinates unless ``allow_leak``, and then marks every
    output; InputError for files that are no predictions.
    """
    if draw:
        require_matplotlib()
    entries = read_entries(files, allow_leak)
    paper = find_paper_table(paper_table) if paper_table else main_table(entries)
    sections = place_sections(entries, paper, seed, resamples)
    if paper is None or set(paper.columns).isdisjoint(PLACE_LEVELS):
        sections = {"Overall": overall_section(entries, paper, seed, resamples), **sections}
    for entry in entries:
        sections |= entry_sections(entry, seed, resamples)
    figures = draw_figures(entries, out / "figures", seed) if draw else []
    document = {"seed": seed, "resamples": resamples, "sections": {name: data for name, (_, data) in sections.items()}}
    _write_text(out / "evaluation.json", json.dumps(document, indent=2, allow_nan=False) + "\n")
    lines = ["# Evaluation", "", "In brackets the 95 % interval from resampling whole clips.", ""]
    for name, (text, _) in sections.items():
        lines += [f"## {name}", "", text, ""]
    lines += [f"![{figure.stem}]({figure.relative_to(out).as_posix()})" for figure in figures]
    _write_text(out / "evaluation.md", "\n".join(lines).rstrip() + "\n")
    return out / "evaluation.md"


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.encode())


def draw_figures(entries: Sequence[Entry], folder: Path, seed: int) -> list[Path]:
    """Return the pictures drawn of every entry, and one of all that hold embeddings of the same clips."""
    drawn = []
    for entry in entries:
        stem = _file_stem(entry.name)
        for name, draw in (
            ("lengths", draw_length_boxes), ("errors", draw_error_breakdown), ("tracks", draw_trajectories),
        ):  # fmt: skip
            draw(entry.predictions, folder / f"{stem}-{name}.png", entry.name, entry.caution)
            drawn.append(folder / f"{stem}-{name}.png")
        for protocol, predicted in predicted_places(entry.predictions).items():
            path = folder / f"{stem}-confusion-{_file_stem(protocol)}.png"
            confusion = confusion_of_hardest(true_places(entry.predictions), predicted)
            draw_confusion(confusion, path, f"{entry.name}, {protocol}", entry.caution)
            drawn.append(path)
    embedded = [entry for entry in entries if entry.predictions.embeddings is not None]
    comparable = [entry for entry in embedded if entry.predictions.keys == embedded[0].predictions.keys]
    if comparable:
        path = folder / "features.png"
        mask = clips_of_one_city(comparable[0].predictions, seed)
        cautions = "; ".join(sorted({entry.caution for entry in comparable if entry.caution}))
        draw_feature_plot({e.name: e.predictions for e in comparable}, mask, path, "Features", cautions)
        drawn.append(path)
    return drawn


def _file_stem(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower() or "model"
