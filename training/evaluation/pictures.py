"""Every figure that a set of predictions files allows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from training.evaluation.entries import Entry
from training.evaluation.figures.confusion_heatmap import draw_confusion
from training.evaluation.figures.error_bars import draw_error_breakdown
from training.evaluation.figures.feature_plot import clips_of_one_city, draw_feature_plot
from training.evaluation.figures.length_boxes import draw_length_boxes
from training.evaluation.figures.trajectory_map import draw_trajectories
from training.evaluation.place_accuracy import confusion_of_hardest
from training.evaluation.sections import predicted_places, true_places


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
        chosen = clips_of_one_city(comparable[0].predictions, seed)
        cautions = "; ".join(sorted({entry.caution for entry in comparable if entry.caution}))
        draw_feature_plot({e.name: e.predictions for e in comparable}, chosen, path, "Features", cautions)
        drawn.append(path)
    return drawn


def _file_stem(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower() or "model"
