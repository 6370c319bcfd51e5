"""What a clip's statistic is worth against claims: tables fitted on whole held-out clips (docs/method.md 3.6)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from vidtag_cli.pipeline.claim_verdict import KINDS, LR_EDGES, LR_LOG10, RADIUS, ClaimTables

LEAST_CLIPS = 20
"""With 19 true claims not one p-value could lie below 5 %."""


def fit_claims(
    statistics: Mapping[str, np.ndarray], radius_km: float
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Return the parameters and tables of a calibration from the statistics of whole clips, one array for each of
    ``KINDS``: a clip gives at most one number to each.

    NaN, a clip that the gate refused, is left out. Raises ValueError when fewer than ``LEAST_CLIPS`` are left of a
    kind.
    """
    kept = {kind: np.sort(np.asarray(statistics[kind], float)[np.isfinite(statistics[kind])]) for kind in KINDS}
    for kind, values in kept.items():
        if len(values) < LEAST_CLIPS:
            raise ValueError(f"claims of kind {kind}: {len(values)} clips, {LEAST_CLIPS} are needed")
    edges, log10 = fit_likelihood_ratio(kept["true"], kept["random"])
    tables = {f"claim_{kind}": values.tolist() for kind, values in kept.items()}
    return {RADIUS: float(radius_km)}, tables | {LR_EDGES: edges.tolist(), LR_LOG10: log10.tolist()}


def claim_tables(parameters: Mapping[str, float], tables: Mapping[str, list[float]]) -> ClaimTables:
    """Return fitted tables as the program reads them from a bundle."""
    statistics = {kind: tuple(tables[f"claim_{kind}"]) for kind in KINDS}
    return ClaimTables(parameters[RADIUS], statistics, tuple(tables[LR_EDGES]), tuple(tables[LR_LOG10]))


def fit_likelihood_ratio(true: np.ndarray, random: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return edges (m,) and rising log10 likelihood ratios (m + 1,) by pool adjacent violators.

    Each block counts half a clip more on either side, and no ratio goes beyond the number of clips or its inverse.
    """
    statistic, is_true = _ordered(true, random)
    block = _pooled(is_true)
    counts = [(is_true[part].sum(), (~is_true[part]).sum()) for part in block]
    ratios = [
        (hits + 0.5) / (len(true) + 1.0) / ((misses + 0.5) / (len(random) + 1.0)) for hits, misses in counts
    ]  # fmt: skip
    most = math.log10(min(len(true), len(random)))
    log10 = np.maximum.accumulate(np.clip(np.log10(ratios), -most, most))
    edges = [(statistic[part.start - 1] + statistic[part.start]) / 2.0 for part in block[1:]]
    return np.array(edges, float), log10


def log_likelihood_ratio_cost(true_ratios: np.ndarray, random_ratios: np.ndarray) -> float:
    """Return Cllr in bits: 0 for perfect likelihood ratios, 1 for ratios that say nothing (Brummer 2006)."""
    for_true = np.log2(1.0 + 1.0 / np.asarray(true_ratios)).mean()
    for_random = np.log2(1.0 + np.asarray(random_ratios)).mean()
    return float((for_true + for_random) / 2.0)


def least_cost(true: np.ndarray, random: np.ndarray) -> float:
    """Return the least Cllr of any rising map of these statistics: what is lost to discrimination alone."""
    _, is_true = _ordered(true, random)
    odds = len(true) / len(random)
    cost = 0.0
    for part in _pooled(is_true):
        hits, misses = int(is_true[part].sum()), int((~is_true[part]).sum())
        if hits and misses:
            ratio = hits / misses / odds
            cost += hits / len(true) * math.log2(1.0 + 1.0 / ratio) + misses / len(random) * math.log2(1.0 + ratio)
    return cost / 2.0


def _ordered(true: np.ndarray, random: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    statistic = np.concatenate([true, random])
    is_true = np.arange(len(statistic)) < len(true)
    order = np.lexsort((~is_true, statistic))  # of equal ones the true come first: pooling then makes one block of them
    return statistic[order], is_true[order]


def _pooled(is_true: np.ndarray) -> list[slice]:
    """Return consecutive blocks whose shares of true claims rise, by pool adjacent violators."""
    blocks: list[list[int]] = []  # begin, end, how many are true
    for number, hit in enumerate(is_true.tolist()):
        blocks.append([number, number + 1, int(hit)])
        while len(blocks) > 1 and _share(blocks[-2]) >= _share(blocks[-1]):
            _, end, hits = blocks.pop()
            blocks[-1][1] = end
            blocks[-1][2] += hits
    return [slice(begin, end) for begin, end, _ in blocks]


def _share(block: list[int]) -> float:
    return block[2] / (block[1] - block[0])
