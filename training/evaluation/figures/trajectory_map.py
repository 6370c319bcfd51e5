"""True and predicted tracks over a map (the paper's Fig. 6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from training.evaluation.breakdown import from_plane_km, to_plane_km
from training.evaluation.figures.canvas import new_figure, write_figure
from training.evaluation.predictions import Predictions
from vidtag_cli.evaluation.trajectory import discrete_frechet
from vidtag_cli.geo.land import SEA, country_index
from vidtag_cli.geo.sphere import centroid_latlon

CELLS = 240
"""Cells of the map along each side of a panel."""

MARGIN = 1.15
SMALLEST_MAP_KM = 25.0
"""Below it the raster's cells of 5 km would draw straight coasts that are not there: a grid is honest."""

SMALLEST_EXTENT_KM = 0.2
TRUE_COLOR, PREDICTED_COLOR = "#e8b000", "#d00000"


def chosen_clips(predictions: Predictions, columns: int = 2) -> dict[int, str]:
    """Return the numbers of clips that show the model fairly: the best, those in the middle, the worst, by DFD.

    The paper shows near-perfect tracks alone.
    """
    distances_km = np.array([discrete_frechet(*clip).km for clip in predictions.clips()])
    order = [int(clip) for clip in np.argsort(distances_km) if not np.isnan(distances_km[clip])]
    middle = max(0, (len(order) - columns) // 2)
    picks = [("best", order[:columns]), ("middle", order[middle:][:columns]), ("worst", order[-columns:])]
    named: dict[int, str] = {}
    for name, clips in picks:
        for clip in clips:
            named.setdefault(clip, f"{name}, DFD {distances_km[clip]:.3g} km")
    return named


def draw_trajectories(predictions: Predictions, path: Path, title: str, caution: str = "", columns: int = 2) -> None:
    """Write panels of clips in kilometres around their centre, over land, sea and borders where those can be told.

    A panel is an azimuthal projection, so a track across the antimeridian or a pole is in one piece.
    """
    panels = chosen_clips(predictions, columns)
    rows = max(1, -(-len(panels) // columns))
    figure, axes = new_figure(4.2 * columns, 4.2 * rows, rows, columns)
    clips = list(predictions.clips())
    for axis, (clip, name) in zip(axes.flat, panels.items(), strict=False):
        _draw_clip(axis, *clips[clip])
        axis.set_title(f"{predictions.keys[clip]}\n{name}", fontsize=8)
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_axis_off()
    if panels:
        axes.flat[0].legend(fontsize=7, loc="best")
    write_figure(figure, path, title, caution)


def _draw_clip(axis: Any, truth_latlon_deg: np.ndarray, predicted_latlon_deg: np.ndarray) -> None:
    centre = centroid_latlon(truth_latlon_deg[~np.isnan(truth_latlon_deg[:, 0])])
    truth, predicted = (to_plane_km(track, centre) for track in (truth_latlon_deg, predicted_latlon_deg))
    reach_km = MARGIN * max(SMALLEST_EXTENT_KM, float(np.nanmax(np.abs(np.concatenate([truth, predicted])))))
    if reach_km >= SMALLEST_MAP_KM:
        _draw_land(axis, centre, reach_km)
    else:
        axis.grid(alpha=0.4)
    axis.plot(truth[:, 0], truth[:, 1], "o-", color=TRUE_COLOR, ms=3, lw=1.5, label="true")
    axis.plot(predicted[:, 0], predicted[:, 1], "o-", color=PREDICTED_COLOR, ms=3, lw=1.0, label="predicted")
    axis.set(xlim=(-reach_km, reach_km), ylim=(-reach_km, reach_km))
    axis.set_xlabel(f"km east of {centre[0]:.4f}, {centre[1]:.4f}", fontsize=8)
    axis.set_ylabel("km north", fontsize=8)
    axis.set_aspect("equal")


def _draw_land(axis: Any, centre_latlon_deg: np.ndarray, reach_km: float) -> None:
    steps = (np.arange(CELLS) + 0.5) / CELLS * 2.0 * reach_km - reach_km
    east, north = np.meshgrid(steps, steps)
    plane = np.stack([east.ravel(), north.ravel()], axis=-1)
    countries = country_index(from_plane_km(plane, centre_latlon_deg)).reshape(CELLS, CELLS)
    border = np.zeros_like(countries, dtype=bool)
    border[:, 1:] |= countries[:, 1:] != countries[:, :-1]
    border[1:] |= countries[1:] != countries[:-1]
    colors = np.where((countries == SEA)[..., None], (0.80, 0.88, 0.95), (0.95, 0.94, 0.90))
    colors[border] = (0.55, 0.55, 0.55)
    axis.imshow(colors, extent=(-reach_km, reach_km, -reach_km, reach_km), origin="lower", interpolation="nearest")
