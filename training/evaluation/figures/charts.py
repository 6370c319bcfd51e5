"""Charts of errors: by length of the clip, by scale and kind, among the hardest cities (the paper's Fig. 8, 12, 11)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from training.evaluation.breakdown import error_kinds, error_scales, split_by_length, video_errors_km
from training.evaluation.figures.canvas import new_figure, write_figure
from training.evaluation.place_accuracy import ELSEWHERE, Confusion
from training.evaluation.predictions import Predictions

SMALLEST_KM = 1e-3
"""Errors of less than a metre are drawn as one: the axis is logarithmic."""

LABELLED_FROM = 0.005


def draw_length_boxes(predictions: Predictions, path: Path, title: str, caution: str = "") -> None:
    """Write a box plot of video errors, one box for each class of length with its number of clips beneath."""
    classes = {name: video_errors_km(clips) for name, clips in split_by_length(predictions).items()}
    classes = {name: errors[~np.isnan(errors)] for name, errors in classes.items()}
    classes = {name: errors for name, errors in classes.items() if len(errors)}
    figure, ((axes,),) = new_figure(7.0, 4.0)
    if classes:
        axes.boxplot(
            [errors.clip(min=SMALLEST_KM) for errors in classes.values()],
            tick_labels=[f"{name}\nn = {len(errors)}" for name, errors in classes.items()],
            flierprops={"markersize": 3},
            medianprops={"color": "tab:orange"},
        )
        axes.set_yscale("log")
    axes.set(xlabel="frames of the clip", ylabel="video error, km")
    axes.grid(axis="y", alpha=0.3)
    write_figure(figure, path, title, caution)


def draw_error_breakdown(predictions: Predictions, path: Path, title: str, caution: str = "") -> None:
    """Write two bar charts: frames by the scale of their error, clips by the kind of theirs."""
    figure, ((left, right),) = new_figure(11.0, 3.8, 1, 2)
    _draw_bars(left, error_scales(predictions), "% of frames")
    _draw_bars(right, error_kinds(predictions), "% of clips")
    write_figure(figure, path, title, caution)


def _draw_bars(axes: Any, shares: Mapping[str, float], label: str) -> None:
    bars = axes.barh(list(shares), [100.0 * share for share in shares.values()], color="tab:blue")
    axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel=label, xlim=(0.0, 110.0))


def draw_confusion(confusion: Confusion, path: Path, title: str, caution: str = "") -> None:
    """Write a heat map, a row for each true city, a column for each predicted one and one for all others."""
    side_in = 3.0 + 0.32 * len(confusion.cities)
    figure, ((axes,),) = new_figure(side_in + 1.0, side_in)
    image = axes.imshow(100.0 * confusion.shares, vmin=0.0, vmax=100.0, cmap="Blues", aspect="equal")
    columns = [*confusion.cities, ELSEWHERE]
    axes.set_xticks(range(len(columns)), columns, rotation=90)
    axes.set_yticks(
        range(len(confusion.cities)), [f"{c} ({n})" for c, n in zip(confusion.cities, confusion.clips, strict=True)]
    )
    for row, shares in enumerate(confusion.shares):
        for column, share in enumerate(shares):
            if share >= LABELLED_FROM:
                color = "white" if share > 0.5 else "black"
                axes.text(column, row, f"{100.0 * share:.0f}", ha="center", va="center", fontsize=6, color=color)
    axes.set(xlabel="predicted city", ylabel="true city (clips)")
    figure.colorbar(image, ax=axes, label="% of the true city's clips", shrink=0.7)
    write_figure(figure, path, title, caution)
