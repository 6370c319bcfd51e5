"""The training loop of every phase: seeded steps, schedule, log, checkpoints, resume."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.checkpoint import load_state, save_state
from training.phases.distributed import sum_gradients_
from training.phases.execution import Execution, StoppedError
from training.phases.progress_log import ProgressLog

_log = logging.getLogger("training")

LearningRate = Callable[[int], float]
"""Step number -> factor on the base learning rate."""

Step = Callable[[int], dict[str, Tensor]]
"""Step number -> named scalars; the one called ``loss`` is minimised. A step that has left its gradients in the weights
already, as one done in parts has, gives a loss without a graph."""


def warmup_then_decay(warmup_steps: int, steps_per_epoch: int, decay_per_epoch: float) -> LearningRate:
    """Return the paper's schedule: linear warm-up, then one factor per epoch (docs/method.md 2.9)."""
    return lambda step: min(1.0, (step + 1) / max(1, warmup_steps)) * decay_per_epoch ** (step // steps_per_epoch)


def warmup_then_linear(warmup_steps: int, steps: int, hold: float = 0.5) -> LearningRate:
    """Return linear warm-up, a plateau over the share ``hold`` of the steps, then a straight line to nearly zero."""

    def factor(step: int) -> float:
        done = step / steps
        fall = 1.0 if done <= hold else max(0.01, (1.0 - done) / (1.0 - hold))
        return min(1.0, (step + 1) / max(1, warmup_steps)) * fall

    return factor


def step_seed(seed: int, number: int) -> int:
    """Return the seed of torch's random numbers in a step."""
    return (seed * 1_000_003 + number) % 2**63


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
    ema_decay: float = 0.0,
    execution: Execution | None = None,
) -> None:
    """Run ``step`` until ``steps`` are done, going on from the folder's checkpoint if there is one.

    Every step seeds the random numbers by its own number, and draws its batch from that number alone, so a killed run
    goes on exactly as an uninterrupted one. ``modules`` must hold all state that steps change. With ``ema_decay`` they
    end up with the moving average of their weights. Raises StoppedError, after saving, when asked to stop.
    """
    execution = execution or Execution()
    ranks = execution.ranks
    folder.mkdir(parents=True, exist_ok=True)
    average = AveragedModel(modules, multi_avg_fn=get_ema_multi_avg_fn(ema_decay)) if ema_decay else None
    done = load_state(folder, modules, optimizer, seed=seed, average=average)
    ranks.wait()  # nobody may write the state while another still reads it
    _log.info("%s: step %d of %d", name, done, steps)
    progress = _Progress(name, folder, done, steps, execution) if ranks.is_first else None
    base = [group["lr"] for group in optimizer.param_groups]
    for number in range(done, steps):
        for group, rate in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = rate * learning_rate(number)
        torch.manual_seed(step_seed(seed, number))
        optimizer.zero_grad(set_to_none=True)
        scalars = step(number)
        if scalars["loss"].requires_grad:
            scalars["loss"].backward()
        sum_gradients_(modules.parameters(), ranks)
        optimizer.step()
        if average is not None:
            average.update_parameters(modules)
        is_last = number + 1 == steps
        stops = execution.stop.reached(ranks, execution.device)
        if progress is not None:
            progress.add(scalars)
            if (number + 1) % log_every == 0 or is_last or stops:
                progress.tell(number + 1)
        if ranks.is_first and ((number + 1) % save_every == 0 or is_last or stops):
            for group, rate in zip(optimizer.param_groups, base, strict=True):
                group["lr"] = rate
            save_state(folder, modules, optimizer, number + 1, seed=seed, average=average)
        if stops and not is_last:
            ranks.wait()
            raise StoppedError(f"{name}: stopped after step {number + 1} of {steps}; the same command continues")
    if progress is not None:
        progress.close()
    if average is not None and steps > 0:
        modules.load_state_dict(average.module.state_dict())
    ranks.wait()


class _Progress:
    """Means of the scalars since the last line, and the time left."""

    def __init__(self, name: str, folder: Path, done: int, steps: int, execution: Execution) -> None:
        self._file = ProgressLog(folder, name, done, execution.tensorboard)
        self._name, self._steps, self._done = name, steps, done
        self._began = time.monotonic()
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, scalars: dict[str, Tensor]) -> None:
        # Summed where they are: to read them here would make the processor wait for the accelerator at every step.
        for key, value in scalars.items():
            number = value.detach().double()
            self._sums[key] = self._sums[key] + number if key in self._sums else number
        self._count += 1

    def tell(self, step: int) -> None:
        means = {key: float(value) / self._count for key, value in self._sums.items()}
        elapsed_s = time.monotonic() - self._began
        self._file.write(step, elapsed_s, means)
        left_s = elapsed_s / (step - self._done) * (self._steps - step)
        told = "  ".join(f"{key} {mean:.4f}" for key, mean in means.items())
        _log.info("%s %d/%d  %s  %.0f s left", self._name, step, self._steps, told, left_s)
        self._sums, self._count = {}, 0

    def close(self) -> None:
        self._file.close()
