"""Data parallel training: what the ranks of a ``torchrun`` exchange.

Every rank embeds its own share of the batch. The embeddings, a few megabytes, are gathered everywhere, every rank
computes the loss of the whole similarity matrix, and keeps the gradient of its own rows: exact, and nothing has to
travel back. Gradients of the weights are summed over the ranks at the end of the step.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch import distributed as dist

from vidtag_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among its equals; a process on its own is rank 0 of 1."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, total: int) -> slice:
        """Return which of ``total`` rows belong to this rank; shares differ by one row at most."""
        return slice(self.rank * total // self.count, (self.rank + 1) * total // self.count)

    def wait(self) -> None:
        """Return when every rank has come here."""
        if self.count > 1:
            dist.barrier()


ALONE = Ranks()


def join_ranks(device: torch.device) -> Ranks:
    """Return this process's rank in the ``torchrun`` that started it, after joining the others: by NCCL on CUDA, by
    Gloo elsewhere. Without ``torchrun`` it is alone.
    """
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        return ALONE
    backend = "nccl" if device.type == "cuda" else "gloo"
    if not dist.is_backend_available(backend):
        raise UsageError(f"this build of torch has no {backend}: train on {device.type} in a single process")
    dist.init_process_group(backend)
    return Ranks(dist.get_rank(), dist.get_world_size())


def leave_ranks() -> None:
    """Take leave of the other ranks, where there are any."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def local_device(name: str) -> torch.device:
    """Return the device of this process: ``cuda`` under ``torchrun`` is the card of its local rank."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name}: torch knows no such device; cpu and cuda are used here") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"{name}: torch sees no CUDA device here; train with --device cpu")
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    return device


@torch.no_grad()
def gather_rows(own: Tensor, ranks: Ranks, total: int) -> Tensor:
    """Return the rows (total, ...) of all ranks in order, of the share (own rows, ...) of each."""
    if ranks.count == 1:
        return own
    # A sum with zeros, not an all-gather: shares may differ by a row, and adding zero changes no bit.
    rows = own.new_zeros(total, *own.shape[1:])
    rows[ranks.share(total)] = own
    dist.all_reduce(rows)
    return rows


@torch.no_grad()
def sum_gradients_(parameters: Iterable[nn.Parameter], ranks: Ranks) -> None:
    """Add up the gradients of all ranks, in place; the result is the same to the last bit on every rank."""
    if ranks.count == 1:
        return
    waiting = []
    for parameter in parameters:
        if parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            waiting.append(dist.all_reduce(parameter.grad, async_op=True))
    for work in waiting:
        work.wait()


class _SumOverRanks(torch.autograd.Function):
    """The sum of a tensor over all ranks; its gradient is the sum of the gradients."""

    @staticmethod
    def forward(context: object, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class BatchNormOverRanks(nn.Module):
    """:class:`torch.nn.BatchNorm1d` of rows (N, C) whose statistics are those of all ranks' rows together.

    torch's SyncBatchNorm works on CUDA only. Names of the weights and behaviour outside training are those of the
    module it replaces, so checkpoints do not know the difference.
    """

    def __init__(self, norm: nn.BatchNorm1d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps, self.momentum = norm.weight, norm.bias, norm.eps, norm.momentum or 0.1
        self.running_mean: Tensor
        self.running_var: Tensor
        self.num_batches_tracked: Tensor
        for name, value in norm.named_buffers():
            self.register_buffer(name, value)

    def forward(self, rows: Tensor) -> Tensor:
        if not self.training:
            return nn.functional.batch_norm(
                rows, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        rows = rows.float()  # sums over thousands of rows are no work for half precision
        own = torch.cat([rows.sum(0), rows.new_tensor([float(len(rows))])])
        total = _SumOverRanks.apply(own)
        count, mean = total[-1].detach(), total[:-1] / total[-1].detach()
        centred = rows - mean
        variance = _SumOverRanks.apply((centred * centred).sum(0)) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1.0)), self.momentum)
        return centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias


def share_batch_norms_(module: nn.Module, ranks: Ranks) -> None:
    """Put :class:`BatchNormOverRanks` in the place of every BatchNorm1d, in place, where there are several ranks."""
    if ranks.count == 1:
        return
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d):
            setattr(module, name, BatchNormOverRanks(child))
        else:
            share_batch_norms_(child, ranks)


def restore_batch_norms_(module: nn.Module) -> None:
    """Undo :func:`share_batch_norms_`: what is exported and copied knows nothing of ranks."""
    for name, child in module.named_children():
        if isinstance(child, BatchNormOverRanks):
            plain = nn.BatchNorm1d(len(child.weight), eps=child.eps, momentum=child.momentum)
            plain.to(child.weight.device).load_state_dict(child.state_dict())
            plain.weight, plain.bias = child.weight, child.bias
            setattr(module, name, plain.train(child.training))
        else:
            restore_batch_norms_(child)
