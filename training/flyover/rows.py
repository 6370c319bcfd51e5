"""The ablation rows of the demo model (the paper's Table 4 at small width): each part added in turn, each trained
alike.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch

from training.checkpoint import load_weights, save_weights
from training.config import TrainingConfig
from training.features import FeatureStore
from training.model.frame_mlp import FrameMlp
from training.model.vidtag import VidTag
from training.phases.phase_one import train_phase_one


@dataclass(frozen=True, slots=True)
class Row:
    """One row: which columns of the features it sees, and whether frames may look at each other."""

    name: str
    branch: slice
    tempgeo: bool
    refine: bool = False


def ablation_rows(config: TrainingConfig) -> tuple[Row, ...]:
    """Return the rows in the order of the paper's Table 4."""
    clip = config.model.clip.embed_dim
    everything = slice(None)
    return (
        Row("clip_only", slice(0, clip), tempgeo=False),
        Row("dino_only", slice(clip, None), tempgeo=False),
        Row("both_branches", everything, tempgeo=False),
        Row("tempgeo", everything, tempgeo=True),
        Row("georefiner", everything, tempgeo=True, refine=True),
    )


def train_row(base: VidTag, row: Row, config: TrainingConfig, store: FeatureStore, folder: Path) -> VidTag:
    """Return a copy of ``base`` whose Phase I is trained as the row says, from ``base``'s location encoder."""
    torch.manual_seed(config.seed)
    model = copy.deepcopy(base)
    width = len(range(*row.branch.indices(config.model.feature_dim)))
    model.frame_mlp = FrameMlp((width, *config.model.mlp_hidden, config.model.embed_dim))
    if not row.tempgeo:
        model.tempgeo = None
    finished = folder / "phase_one.safetensors"
    if finished.is_file():
        model.load_state_dict(load_weights(finished))
        return model
    train_phase_one(
        model, config.phase_one, store, folder, config.seed, branch=row.branch, name=f"phase_one {row.name}"
    )
    save_weights(finished, model.state_dict())
    return model
