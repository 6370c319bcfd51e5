"""The training loop of every phase: seeded steps, schedule, log, checkpoints, resume."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from training.checkpoint import load_state, save_state

_log = logging.getLogger("training")

LearningRate = Callable[[int], float]
"""Step number -> factor on the base learning rate."""

Step = Callable[[int], dict[str, Tensor]]
"""Step number -> named scalars; the one called ``loss`` is minimised."""


def warmup_then_decay(warmup_steps: int, steps_per_epoch: int, decay_per_epoch: float) -> LearningRate:
    """Return the paper's schedule: linear warm-up, then one factor per epoch (SPEC 2.9)."""
    return lambda step: min(1.0, (step + 1) / max(1, warmup_steps)) * decay_per_epoch ** (step // steps_per_epoch)


def warmup_then_linear(warmup_steps: int, steps: int, hold: float = 0.5) -> LearningRate:
    """Return linear warm-up, a plateau over the share ``hold`` of the steps, then a straight line to nearly zero."""

    def factor(step: int) -> float:
        done = step / steps
        fall = 1.0 if done <= hold else max(0.01, (1.0 - done) / (1.0 - hold))
        return min(1.0, (step + 1) / max(1, warmup_steps)) * fall

    return factor


def run_loop(
    name: str,
    folder: Path,
    modules: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: Step,
    steps: int,
    learning_rate: LearningRate,
    *,
    seed: int,
    save_every: int = 200,
    log_every: int = 20,
) -> None:
    """Run ``step`` until ``steps`` are done, going on from the folder's checkpoint if there is one.

    Every step seeds the random numbers by its own number, and draws its batch from that number alone, so a killed run
    goes on exactly as an uninterrupted one. ``modules`` must hold all state that steps change.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = load_state(folder, modules, optimizer)
    _log.info("%s: step %d of %d", name, done, steps)
    base = [group["lr"] for group in optimizer.param_groups]
    began = time.monotonic()
    sums: dict[str, float] = {}
    for number in range(done, steps):
        for group, rate in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = rate * learning_rate(number)
        torch.manual_seed((seed * 1_000_003 + number) % 2**63)
        optimizer.zero_grad(set_to_none=True)
        scalars = step(number)
        scalars["loss"].backward()
        optimizer.step()
        for key, value in scalars.items():
            sums[key] = sums.get(key, 0.0) + float(value.detach())
        if (number + 1) % log_every == 0 or number + 1 == steps:
            count = (number % log_every) + 1
            elapsed_s = time.monotonic() - began
            _write_log(name, folder, number + 1, {key: value / count for key, value in sums.items()}, elapsed_s)
            left_s = elapsed_s / (number + 1 - done) * (steps - number - 1)
            _log.info(
                "%s %d/%d  %s  %.0f s left", name, number + 1, steps,
                "  ".join(f"{key} {value / count:.4f}" for key, value in sums.items()), left_s,
            )  # fmt: skip
            sums = {}
        if (number + 1) % save_every == 0 or number + 1 == steps:
            for group, rate in zip(optimizer.param_groups, base, strict=True):
                group["lr"] = rate
            save_state(folder, modules, optimizer, number + 1)


def _write_log(name: str, folder: Path, step: int, means: dict[str, float], elapsed_s: float) -> None:
    path = folder / "log.csv"
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["phase", "step", "elapsed_s", *means])
        writer.writerow([name, step, f"{elapsed_s:.1f}", *(f"{value:.6g}" for value in means.values())])
