"""Video error against the length of the clip (the paper's Fig. 8)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.evaluation.breakdown import split_by_length, video_errors_km
from training.evaluation.figures.canvas import new_figure, write_figure
from training.evaluation.predictions import Predictions

SMALLEST_KM = 1e-3
"""Errors of less than a metre are drawn as one: the axis is logarithmic."""


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
