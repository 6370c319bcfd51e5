"""Errors by scale and by kind (the numeric panels of the paper's Fig. 12)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.evaluation.breakdown import error_kinds, error_scales
from training.evaluation.figures.canvas import new_figure, write_figure
from training.evaluation.predictions import Predictions


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
