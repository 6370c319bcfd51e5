"""Which clips train: the mix of data sets (the paper's appendix H), and why there are too few where there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.config import MixConfig, TrainingConfig
from training.data.ledger import ScanReport
from training.features.held_out import SplitSamples
from training.features.store import FeatureCache
from vidtag_cli.errors import InputError, UsageError
from vidtag_cli.geo.nearest import nearest_neighbour

_REASONS = 6


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The clips a data set could give: ``latlon_deg`` (N, 2) one position of each, ``stratum`` (N,) its city."""

    latlon_deg: np.ndarray
    stratum: np.ndarray


def mix_clips(rules: Sequence[MixConfig], sets: Mapping[str, Candidates], seed: int) -> dict[str, np.ndarray]:
    """Return which clips (M,) of each data set train, in rising order, by name of the set.

    Without rules all of them do. With rules, the data sets must be those that the rules name; each rule sees what the
    rules above it left of the others. Raises UsageError for a set without a rule or a rule without a set.
    """
    if not rules:
        return {name: np.arange(len(candidates.latlon_deg)) for name, candidates in sets.items()}
    if sorted(rule.data for rule in rules) != sorted(sets):
        names = ", ".join(rule.data for rule in rules)
        raise UsageError(f"the preset mixes {names}, but --data gives {', '.join(sets)}: give exactly those")
    mixed: dict[str, np.ndarray] = {}
    for number, rule in enumerate(rules):
        rng = np.random.default_rng((seed, 7, number))
        mixed[rule.data] = _apply(rule, sets, mixed, rng)
        if not len(mixed[rule.data]):
            raise UsageError(f"{rule.data}: the rules of the mix leave no clip of it")
    return mixed


def _apply(
    rule: MixConfig, sets: Mapping[str, Candidates], above: Mapping[str, np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    own = sets[rule.data]
    kept = np.arange(len(own.latlon_deg))
    unknown = [name for name in (*rule.apart_from, *rule.sized_like) if name not in above]
    if unknown:
        raise UsageError(f"{rule.data}: its rule names {', '.join(unknown)}, which must stand above it in the mix")
    for other in rule.apart_from:
        distance_km, _ = nearest_neighbour(own.latlon_deg[kept], sets[other].latlon_deg)
        kept = kept[distance_km > rule.apart_km]
    if rule.clips_per_stratum:
        kept = _cap_strata(kept, own.stratum, rule.clips_per_stratum, rng)
    if rule.sized_like:
        size = round(float(np.mean([len(above[other]) for other in rule.sized_like])))
        kept = _draw(kept, size, rng)
    return kept


def _cap_strata(kept: np.ndarray, stratum: np.ndarray, limit: int, rng: np.random.Generator) -> np.ndarray:
    """Return all clips of strata with no more than ``limit``, and so many drawn from each of the others."""
    capped = [_draw(kept[stratum[kept] == name], limit, rng) for name in np.unique(stratum[kept])]
    return np.sort(np.concatenate([*capped, np.zeros(0, kept.dtype)]))


def _draw(kept: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    return kept if len(kept) <= size else np.sort(rng.choice(kept, size, replace=False))


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


def choose_training_clips(
    config: TrainingConfig, sets: Mapping[str, SplitSamples], caches: Mapping[str, FeatureCache]
) -> dict[str, np.ndarray]:
    """Return which clips of each cache train: of the training split, long enough, and as the mix of the preset says."""
    usable, candidates = {}, {}
    for name, cache in caches.items():
        listing = cache.listing
        own = cache.clips_of(config.clips.frames)
        keys = sets[name].train_keys
        own = own[[listing.clips[clip].key in keys for clip in own]] if len(own) else own
        usable[name] = own
        candidates[name] = Candidates(
            listing.latlon_deg[listing.offsets[own]], np.array([listing.clips[clip].stratum for clip in own], dtype=str)
        )
    unreadable = {name: len(cache.failed) for name, cache in caches.items()}
    require_enough_clips(config, sets, {name: len(own) for name, own in usable.items()}, unreadable)
    mixed = mix_clips(config.mix, candidates, config.seed)
    require_enough_clips(config, sets, {name: len(part) for name, part in mixed.items()}, unreadable)
    return {name: usable[name][part] for name, part in mixed.items()}
