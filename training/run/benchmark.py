"""Steps of Phases I and II at the size of a preset, on features that mean nothing: seconds and peak memory."""

from __future__ import annotations

import dataclasses
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from training.config import ModelConfig, PhaseConfig, TrainingConfig
from training.features.clips import ClipBatch
from training.model.dual_encoder import DualFrameEncoder
from training.model.vidtag import VidTag, build_heads
from training.phases.execution import Execution
from training.phases.phase_one import train_phase_one
from training.phases.phase_two import train_phase_two

MSLS_CLIPS = 13_000
"""About the training sequences of MSLS: appendix H draws 80 from each of 166 cities to equal them. Hours computed from
it are projected, not measured."""

PAPER_HOURS = 2.75
"""Table 14: both phases from cached features on one RTX A6000."""


@dataclass(frozen=True, slots=True)
class PhaseTiming:
    """``seconds`` of one step, the median of those timed; peak memory of the process, and of the card, in GB."""

    phase: str
    seconds: float
    peak_memory_gb: float
    peak_device_memory_gb: float | None
    steps: int
    epochs: int


@dataclass(frozen=True, slots=True)
class RandomClips:
    """Clips of unit vectors anywhere on Earth, a function of their number: as large as real ones, and as slow."""

    count: int
    frames: int
    feature_dim: int

    def __len__(self) -> int:
        return self.count

    def batch(self, numbers: np.ndarray, rng: np.random.Generator, own: slice) -> ClipBatch:
        start = np.stack([rng.uniform(-60.0, 70.0, len(numbers)), rng.uniform(-180.0, 179.0, len(numbers))], axis=-1)
        latlon = start[:, None] + np.linspace(0.0, 0.01, self.frames)[:, None]
        shape = (len(numbers[own]), self.frames, self.feature_dim)
        return ClipBatch(rng.standard_normal(shape, np.float32).astype(np.float16), latlon)


def time_phases(config: TrainingConfig, device: torch.device, steps: int = 1) -> list[PhaseTiming]:
    """Return the timing of both phases at the batch size of the preset; the first of several steps warms up.

    The backbones take no part: their features are cached (docs/method.md 2.9).
    """
    timings = []
    for phase, recipe in (("Phase I", config.phase_one), ("Phase II", config.phase_two)):
        source = _TimedClips(RandomClips(2 * recipe.batch_clips, config.clips.frames, config.model.feature_dim), [])
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        with tempfile.TemporaryDirectory() as folder:
            _run(phase, config, _shortened(recipe, steps), source, Path(folder), Execution(device))
        seconds = np.diff(source.asked_s)
        timings.append(
            PhaseTiming(
                phase, float(np.median(seconds[1:] if len(seconds) > 1 else seconds)), _peak_memory_gb(),
                torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None, steps, recipe.epochs,
            )
        )  # fmt: skip
    return timings


def timing_report(timings: list[PhaseTiming], config: TrainingConfig, clips: int = MSLS_CLIPS) -> str:
    """Return the timings as lines, with the hours that ``clips`` sequences would take beside the paper's."""
    lines, hours = [], 0.0
    for timing in timings:
        card = timing.peak_device_memory_gb
        memory = f"{timing.peak_memory_gb:.2f} GB" + (f", on the card {card:.2f} GB" if card is not None else "")
        lines.append(
            f"{timing.phase}: {timing.seconds:.3f} s a step ({1.0 / timing.seconds:.2f} steps/s), peak memory {memory}"
        )
        hours += timing.seconds * timing.epochs * (clips // config.phase_one.batch_clips) / 3600.0
    if all(timing.epochs for timing in timings):
        lines.append(
            f"projected for {clips} sequences: {hours:.1f} h for both phases; the paper: {PAPER_HOURS} h on an A6000"
        )
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _TimedClips:
    """Clips that note when they were asked for: the time from one batch to the next is a step."""

    clips: RandomClips
    asked_s: list[float]

    def __len__(self) -> int:
        return len(self.clips)

    def batch(self, numbers: np.ndarray, rng: np.random.Generator, own: slice) -> ClipBatch:
        batch = self.clips.batch(numbers, rng, own)
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # or the clock would stop before the card has
        self.asked_s.append(time.perf_counter())
        return batch


def _run(
    phase: str, config: TrainingConfig, recipe: PhaseConfig, source: _TimedClips, folder: Path, execution: Execution
) -> None:
    model = _heads_only(config.model)
    if phase == "Phase I":
        train_phase_one(model, recipe, source, folder, config.seed, execution=execution)
    else:
        train_phase_two(model, recipe, config.noise, source, folder, config.seed, execution=execution)


def _shortened(recipe: PhaseConfig, steps: int) -> PhaseConfig:
    """Return the phase with one step more than are timed, whose beginning ends the last one, and nothing saved."""
    return dataclasses.replace(recipe, epochs=0, steps=steps + 1, steps_per_epoch=100, save_every=10**9)


def _heads_only(config: ModelConfig) -> VidTag:
    torch.manual_seed(0)
    return build_heads(config, DualFrameEncoder(torch.nn.Identity(), torch.nn.Identity()))


def _peak_memory_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
