"""Where and how a phase runs: device, ranks, precision, and whether somebody asked it to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from types import FrameType
from typing import Literal

import torch
from torch import distributed as dist

from training.phases.distributed import ALONE, Ranks
from vidtag_cli.errors import VidtagError


class StoppedError(VidtagError):
    """Training was asked to end and has saved its work; the exit code is that of a program ended by Ctrl-C."""

    exit_code = 130


@dataclass(slots=True)
class StopRequest:
    """Whether the user pressed Ctrl-C or the system asked the process to end."""

    is_made: bool = False

    def reached(self, ranks: Ranks, device: torch.device) -> bool:
        """Return whether any rank was asked to stop: all of them leave after the same step."""
        if ranks.count == 1:
            return self.is_made
        asked = torch.tensor(float(self.is_made), device=device)
        dist.all_reduce(asked)
        return bool(asked > 0)


@dataclass(frozen=True, slots=True)
class Execution:
    """How the loop of a phase runs; as it stands, in a single process on the CPU."""

    device: torch.device = torch.device("cpu")
    ranks: Ranks = ALONE
    tensorboard: bool = False
    stop: StopRequest = field(default_factory=StopRequest)

    def autocast(self, precision: Literal["auto", "float32", "bfloat16"]) -> AbstractContextManager[object]:
        """Return the context that networks run in; weights, optimiser and losses stay float32 in either."""
        if precision == "float32" or (precision == "auto" and self.device.type != "cuda"):
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)


@contextmanager
def stoppable() -> Iterator[StopRequest]:
    """Give a request that Ctrl-C and SIGTERM make, so that the step under way is finished and saved first.

    A second signal ends the process as usual.
    """
    request = StopRequest()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(number: int, frame: FrameType | None) -> None:
        request.is_made = True
        restore()

    for number in before:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        restore()
