"""Who is mistaken for whom among the hardest cities (the paper's Fig. 11)."""

from __future__ import annotations

from pathlib import Path

from training.evaluation.figures.canvas import new_figure, write_figure
from training.evaluation.place_accuracy import ELSEWHERE, Confusion

LABELLED_FROM = 0.005


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
