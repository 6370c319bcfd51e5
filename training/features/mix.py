"""Unified training (the paper's appendix H): how many clips of each data set, and which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.config import MixConfig
from vidtag_cli.errors import UsageError
from vidtag_cli.geo.nearest import nearest_neighbour


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
