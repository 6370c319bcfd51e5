"""Training of a classification row: cells of the training flights, a head on their frames' features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from training.ablations.flights import FlightSet
from training.ablations.plan import CellsConfig
from training.ablations.recipe import Recipe, identify
from training.baselines.cached_rows import unit_sized
from training.baselines.cells import CellPartition, cells_at_level, with_mean_centres
from training.baselines.classifier import CellClassifier, train_classifier
from training.baselines.flat import FlatHead
from training.baselines.query_decoder import QueryDecoder
from training.baselines.scenes import SceneHeads
from training.checkpoint import load_weights, save_weights, write_json

_ROWS = 16_384


def train_cells(recipe: Recipe, flights: FlightSet, out: Path) -> CellClassifier:
    """Return the trained classifier of a row; one that was trained before is taken from ``out``."""
    cells = recipe.row.cells
    if cells is None:
        raise ValueError(f"row {recipe.row.name} is no classifier")
    folder = out / "classifiers" / identify(recipe.classifier())
    latlon_deg = flights.store.latlon_deg.reshape(-1, 2)
    partitions = tuple(_partition(latlon_deg, level, cells.mean_centres) for level in cells.levels)
    torch.manual_seed(recipe.config.seed)
    head = build_head(cells, _token_widths(recipe), [len(partition) for partition in partitions])
    finished = folder / "head.safetensors"
    if finished.is_file():
        head.load_state_dict(load_weights(finished))
        return CellClassifier(head.eval(), partitions)
    write_json(folder / "recipe.json", recipe.classifier())
    classifier = train_classifier(
        head, partitions, frame_rows(flights.store.features, recipe.branch), latlon_deg, folder=folder,
        steps=cells.steps, batch_frames=cells.batch_frames, learning_rate=cells.learning_rate, seed=recipe.config.seed,
    )  # fmt: skip
    save_weights(finished, head.state_dict())
    return classifier


def build_head(cells: CellsConfig, token_widths: list[int], cells_per_level: list[int]) -> nn.Module:
    """Return a head with random weights for features that are tokens of these widths laid end to end."""
    width = sum(token_widths)
    if cells.head == "flat":
        return FlatHead(width, cells_per_level[-1], cells.hidden)
    if cells.head == "levels":
        return SceneHeads(width, cells_per_level, scenes=1, hidden=cells.hidden)
    return QueryDecoder(token_widths, cells_per_level, width=cells.width)


def frame_rows(features: np.ndarray, branch: slice) -> np.ndarray:
    """Return one row (N, d) float16 a frame of features (B, T, D): the columns of a branch, each about 1 in size.

    Unit vectors of hundreds of columns, as the cache holds them, would make a head with ordinary weights slow to start.
    """
    flat = features.reshape(-1, features.shape[-1])
    return np.concatenate([
        unit_sized(flat[begin : begin + _ROWS, branch]) for begin in range(0, len(flat), _ROWS)
    ])  # fmt: skip


def _partition(latlon_deg: np.ndarray, level: int, mean_centres: bool) -> CellPartition:
    partition = cells_at_level(latlon_deg, level)
    return with_mean_centres(partition, latlon_deg) if mean_centres else partition


def _token_widths(recipe: Recipe) -> list[int]:
    clip = recipe.config.model.clip.embed_dim
    return [clip, recipe.width - clip] if recipe.row.branch == "both" else [recipe.width]
