"""Where clips lie on the ground and in the space of features (the paper's Fig. 9)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from training.evaluation.breakdown import to_plane_km
from training.evaluation.figures.canvas import new_figure, write_figure
from training.evaluation.place_accuracy import place_identities
from training.evaluation.predictions import PLACE_LEVELS, Predictions
from vidtag_cli.geo.sphere import haversine_km

CLIPS = 12
CITY_KM = 25.0
"""Clips within this of each other show how well a model tells the streets of one city apart."""


def principal_components(features: np.ndarray, count: int = 2) -> np.ndarray:
    """Return (N, count) float64: centred features (N, E) on the axes of largest variance (Pearson 1901).

    The sign of each axis is chosen so that its largest weight is positive: two runs draw one picture.
    """
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:count]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    return centred @ (axes * signs[:, None]).T


def clips_of_one_city(predictions: Predictions, seed: int = 0, clips: int = CLIPS) -> np.ndarray:
    """Return a mask (C,) of up to ``clips`` clips of the city that has most: by label, else by distance."""
    members = _largest_city(predictions)
    drawn = np.random.default_rng(seed).permutation(members)[:clips]
    return np.isin(np.arange(len(predictions)), drawn)


def draw_feature_plot(
    models: Mapping[str, Predictions], mask: np.ndarray, path: Path, title: str, caution: str = ""
) -> None:
    """Write the ground above and below it the principal components of each model's embeddings, a colour a clip.

    ``mask`` (C,) picks clips; all models must have been run on the same clips and hold embeddings.
    """
    selected = {name: predictions.select(mask) for name, predictions in models.items()}
    first = next(iter(selected.values()))
    figure, axes = new_figure(5.0, 3.6 * (len(models) + 1), len(models) + 1, 1)
    known = ~np.isnan(first.truth_latlon_deg[:, 0])
    ground_km = np.full((len(known), 2), np.nan)
    ground_km[known] = to_plane_km(first.truth_latlon_deg[known], first.truth_latlon_deg[known][0])
    panels = {"ground, km": ground_km}
    for name, predictions in selected.items():
        if predictions.embeddings is None or predictions.keys != first.keys:
            raise ValueError(f"{name}: embeddings of the same clips are needed for a feature plot")
        panels[f"{name}, principal components"] = principal_components(predictions.embeddings)
    clip_of_frame = first.clip_of_frame()
    for axis, (name, points) in zip(axes[:, 0], panels.items(), strict=True):
        axis.scatter(points[:, 0], points[:, 1], c=clip_of_frame, cmap="tab20", s=8)
        axis.set_title(name, fontsize=9)
    axes[0, 0].set_aspect("equal")
    write_figure(figure, path, title, caution)


def _largest_city(predictions: Predictions) -> np.ndarray:
    """Return the numbers of the clips of the city with most clips."""
    if predictions.places is not None:
        cities = place_identities(predictions.places, PLACE_LEVELS.index("city"))
        names, counts = np.unique(cities[cities != ""], return_counts=True)
        if len(names):
            return np.flatnonzero(cities == names[counts.argmax()])
    starts = predictions.truth_latlon_deg[predictions.offsets[:-1]]
    near = [np.flatnonzero(haversine_km(start, starts) <= CITY_KM) for start in starts]
    largest = max(near, key=len, default=np.zeros(0, dtype=np.int64))
    # Data without cities, such as flights over the globe: any clips.
    return largest if len(largest) > 1 else np.arange(len(predictions))
