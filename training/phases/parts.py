"""A contrastive step in parts: the whole similarity matrix, with the memory of a few clips.

Embeddings are computed once without a graph, part by part; the loss of all of them together gives the gradient of every
embedding; then each part is computed again, with a graph, and sent its gradients. The weights get what one pass over
the whole batch would give them (Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited
Setup").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from training.phases.distributed import Ranks, gather_rows


@dataclass(frozen=True, slots=True)
class Side:
    """Rows of one side of the similarity matrix: ``embed`` gives part ``i`` of ``parts`` of this rank's share of
    ``total`` rows, in order, and gives the same again when asked again.
    """

    embed: Callable[[int], Tensor]
    parts: int
    total: int


def loss_in_parts(
    sides: Sequence[Side], loss: Callable[..., Tensor], ranks: Ranks, loss_weights: Sequence[nn.Parameter] = ()
) -> Tensor:
    """Return the loss of the rows (total, E) of all sides on all ranks.

    In one part on one rank it comes with its graph. Otherwise it comes without, and the gradients are in the weights.
    ``loss_weights`` are those that the loss itself uses: every rank finds their whole gradient.
    """
    if ranks.count == 1 and all(side.parts == 1 for side in sides):
        return loss(*(side.embed(0) for side in sides))
    with torch.no_grad():
        own = [torch.cat([side.embed(part) for part in range(side.parts)]) for side in sides]
    rows = [gather_rows(part, ranks, side.total).requires_grad_() for part, side in zip(own, sides, strict=True)]
    value = loss(*rows)
    value.backward()
    for weight in loss_weights:
        if weight.grad is not None:
            weight.grad /= ranks.count
    for whole, side in zip(rows, sides, strict=True):
        if whole.grad is not None:
            _send_gradients(side, whole.grad[ranks.share(side.total)])
    return value.detach()


def _send_gradients(side: Side, gradients: Tensor) -> None:
    begin = 0
    for part in range(side.parts):
        embedding = side.embed(part)
        embedding.backward(gradients[begin : begin + len(embedding)])
        begin += len(embedding)


def parts_of(rows: int, rows_per_part: int) -> list[slice]:
    """Return slices that cover ``rows``, each of ``rows_per_part`` or, at the end, fewer; 0 is one slice of all."""
    step = rows_per_part or max(rows, 1)
    return [slice(begin, min(begin + step, rows)) for begin in range(0, rows, step)]


def part_seed(seed: int, number: int, part: int) -> int:
    """Return the seed of the dropout in a part of a step, counted over all ranks: who computes it does not matter."""
    return int(np.random.SeedSequence((seed, 5, number, part)).generate_state(1, np.uint64)[0] >> np.uint64(1))
