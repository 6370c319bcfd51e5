"""A figure that needs no display, and its file: the one place that imports matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidtag_cli.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 130


def require_matplotlib() -> None:
    """Raise UsageError that says how to get matplotlib when it is not installed."""
    try:
        import matplotlib.figure  # noqa: F401 (only whether it is there)
    except ImportError as error:
        raise UsageError(
            "figures need matplotlib: install it with pip install -e '.[plot]', or leave the figures out"
        ) from error


def new_figure(width_in: float, height_in: float, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """Return a figure and its axes (rows, columns) as an array; global state of pyplot is not touched."""
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def write_figure(figure: Figure, path: Path, title: str, caution: str = "") -> None:
    """Write a PNG under its title; a caution, such as a gallery that leaks, is written into the picture."""
    figure.suptitle(title if not caution else f"{title}\n{caution}", color="black" if not caution else "#b00020")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})
