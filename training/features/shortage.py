"""Why there is too little to train from: said at once, with the numbers, and with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping

from training.config import TrainingConfig
from training.data.ledger import ScanReport
from training.features.held_out import SplitSamples
from vidtag_cli.errors import InputError

_REASONS = 6


def require_enough_clips(
    config: TrainingConfig,
    sets: Mapping[str, SplitSamples],
    training: Mapping[str, int],
    unreadable: Mapping[str, int] | None = None,
) -> None:
    """Raise InputError unless every data set has something to train from and all together fill a batch of each phase.

    ``training`` is how many sequences of each set would train, ``unreadable`` how many could not be read. The message
    tells for each set what was found and why it is no more.
    """
    clips, needed = sum(training.values()), max(config.phase_one.batch_clips, config.phase_two.batch_clips)
    empty = [name for name, count in training.items() if not count]
    if clips >= needed and not empty:
        return
    counts = f"too little to train from: {clips} of the {needed} sequences that a batch takes"
    if clips >= needed:
        counts = f"nothing to train from in {', '.join(empty)}"
    lines = [
        _explain(config, name, sets[name], count, (unreadable or {}).get(name, 0)) for name, count in training.items()
    ]
    advice = (
        f"Give more data, or a preset with a batch_clips of at most {clips} in phase_one and phase_two"
        if clips
        else "Give a folder with longer or better sequences"
    )
    raise InputError("\n  ".join([f"{counts}:", *lines, f"{advice}; 'python -m training data check PATH' lists all."]))


def _explain(config: TrainingConfig, name: str, split: SplitSamples, training: int, unreadable: int) -> str:
    """Return one line on a data set: the way from what was found to what is left."""
    short = sum(len(sample) < config.clips.frames for sample in split.samples)
    parts = [
        f"{len(split.samples)} sequences usable",
        f"{len(split.held_out_keys)} of them held out for validation",
        f"{short} shorter than {config.clips.frames} frames",
    ]
    if unreadable:
        parts.append(f"{unreadable} with frames that cannot be read")
    parts.append(f"{training} left to train from")
    if split.report is None:
        return f"{name}: {', '.join(parts)}"
    scan, written = split.report, split.report_file
    contents = ", ".join(f"{count} {unit}s" for unit, count in scan.found.items()) or "nothing"
    where = f". Full report: {written}" if written is not None else ""
    return f"{name} ({scan.root}): found {contents}; {_losses(scan)}; {', '.join(parts)}{where}"


def _losses(scan: ScanReport) -> str:
    """Return the reasons for losses, the most frequent first, with one example each."""
    losses = sorted((loss for loss in scan.findings if loss.is_loss), key=lambda loss: -loss.count)
    if not losses:
        return "nothing left out"
    told = [
        f"{loss.count} x {loss.unit} {loss.reason}" + (f" ({loss.examples[0]})" if loss.examples else "")
        for loss in losses[:_REASONS]
    ]
    more = f", and {len(losses) - _REASONS} more reasons" if len(losses) > _REASONS else ""
    return f"left out {', '.join(told)}{more}"
