"""The gate of a model, trained on flights that were changed on purpose."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from training.shift.changes import KINDS
from training.shift.films import GateSamples

HIDDEN_WIDTH = 128
EPOCHS = 30
BATCH_CLIPS = 64
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-2
INPUT_DROPOUT, HIDDEN_DROPOUT = 0.1, 0.3
FRAME_WEIGHT = 0.5
"""Of the loss of single frames beside that of whole clips: a short shot is judged by few frames."""

MADE_FOR_WEIGHT = 4.0
"""Of all harmless kinds together against each of the others."""

MADE_FOR = "as in training"
_CLIP = 8.0


def gate_kinds() -> tuple[str, ...]:
    """Return what a gate distinguishes: footage as in training, in which all harmless kinds are one, and the others."""
    return (MADE_FOR, *(name for name, kind in KINDS.items() if not kind.is_harmless))


def gate_labels(kind: np.ndarray) -> np.ndarray:
    """Return (B,) int64 which of :func:`gate_kinds` clips of kinds (B,), numbers in ``KINDS``, are."""
    strange = np.array([not kind.is_harmless for kind in KINDS.values()])
    labels: np.ndarray = np.where(strange, np.cumsum(strange), 0)[kind]
    return labels


def fit_gate(samples: GateSamples, seed: int) -> dict[str, np.ndarray]:
    """Return the arrays of a :class:`vidtag_cli.pipeline.gate.Gate`, by name, trained on the samples."""
    torch.manual_seed(seed)
    labels = torch.from_numpy(gate_labels(samples.kind))
    inputs = np.concatenate([samples.features.astype(np.float32), samples.appearance], axis=-1)  # (B, T, D + P)
    of_training = inputs[labels.numpy() == 0].reshape(-1, inputs.shape[-1])
    mean, scale = of_training.mean(0), of_training.std(0) + np.float32(1e-4)
    standard = torch.from_numpy(np.clip((inputs - mean) / scale, -_CLIP, _CLIP))
    kinds = len(gate_kinds())
    hidden, last = nn.Linear(inputs.shape[-1], HIDDEN_WIDTH), nn.Linear(HIDDEN_WIDTH, kinds)
    network = nn.Sequential(nn.Dropout(INPUT_DROPOUT), hidden, nn.ReLU(), nn.Dropout(HIDDEN_DROPOUT), last)
    weight = 1.0 / torch.bincount(labels, minlength=kinds).clamp(min=1)
    weight[0] *= MADE_FOR_WEIGHT
    weight /= weight.mean()
    steps = EPOCHS * len(standard) // BATCH_CLIPS + 1
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(steps):
        drawn = torch.randint(len(standard), (BATCH_CLIPS,))
        logits = network(standard[drawn])  # (b, T, K)
        target = labels[drawn]
        of_clips = functional.cross_entropy(logits.mean(1), target, weight=weight)
        of_frames = functional.cross_entropy(
            logits.flatten(0, 1), target.repeat_interleave(logits.shape[1]), weight=weight
        )
        optimizer.zero_grad()
        (of_clips + FRAME_WEIGHT * of_frames).backward()
        optimizer.step()
        schedule.step()
    arrays = {
        "hidden_weight": hidden.weight.T, "hidden_bias": hidden.bias,
        "kind_weight": last.weight.T, "kind_bias": last.bias,
    }  # fmt: skip
    trained = {name: np.ascontiguousarray(values.detach().numpy()) for name, values in arrays.items()}
    return {"mean": mean.astype(np.float32), "scale": scale.astype(np.float32), **trained}
