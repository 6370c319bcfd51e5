"""``python -m training evaluate``: predictions files in, tables and figures out."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from training.evaluation.entries import read_entries
from training.evaluation.figures.canvas import require_matplotlib
from training.evaluation.paper import find_paper_table
from training.evaluation.pictures import draw_figures
from training.evaluation.predictions import PLACE_LEVELS
from training.evaluation.sections import entry_sections, main_table, overall_section, place_sections
from vidtag_cli.evaluation.bootstrap import RESAMPLES


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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
