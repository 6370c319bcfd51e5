"""ONNX Runtime against PyTorch eager on one and the same dual encoder: ``python -m export cpu-benchmark``.

    python -m export onnx random:paper --out paper.vidtag
    python -m export cpu-benchmark random:paper paper.vidtag

Both sides and the ceiling, a product of matrices, take turns in one process with the same threads, so that a busy
machine slows all of them. Prints C1 (torch's time over ours) and C2 (our arithmetic per second over the ceiling's) of
the project's performance targets. C3 needs an int8 form, which is not shipped: see ``export.parity.report.TOLERANCES``.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from export.checkpoint import read_checkpoint
from export.graphs.graphs import reference_graphs
from vidtag_cli.bundle.load import ModelGraph, load_bundle
from vidtag_cli.engines.opening import open_engine
from vidtag_cli.errors import ModelError

MIN_COSINE = 0.99999
"""Below this the two sides do not compute the same model and a comparison of times means nothing."""

_CEILING_SIDE = 1024
_CEILING_PRODUCTS = 8


@dataclass(frozen=True, slots=True)
class Comparison:
    """Seconds of every round for one batch, of torch, of the engine, and of one product of the ceiling."""

    threads: int
    gflop: float
    torch_s: list[float]
    engine_s: list[float]
    ceiling_s: list[float]

    def c1(self) -> float:
        return statistics.median(self.torch_s) / statistics.median(self.engine_s)

    def engine_gflops(self) -> float:
        return self.gflop / min(self.engine_s)

    def ceiling_gflops(self) -> float:
        return 2.0 * _CEILING_SIDE**3 / 1e9 / min(self.ceiling_s)

    def c2(self) -> float:
        return self.engine_gflops() / self.ceiling_gflops()


def compare(graph: ModelGraph, module: nn.Module, frames_rgb: np.ndarray, threads: int, rounds: int) -> Comparison:
    """Return the times of a dual encoder in torch and in ONNX Runtime, taken in turns after one round to warm up.

    Raises ModelError when the two do not compute the same.
    """
    torch.set_num_threads(threads)
    engine = open_engine(graph, threads=threads)
    images = torch.from_numpy(frames_rgb)
    square = torch.randn(_CEILING_SIDE, _CEILING_SIDE)
    with torch.no_grad():
        gflop = _count_gflop(module, images)
        _check_same(module(images).numpy(), engine.run({"frames_rgb": frames_rgb})["frame_features"])
        times: tuple[list[float], list[float], list[float]] = ([], [], [])
        for _ in range(rounds):
            times[0].append(_seconds(lambda: module(images)))
            times[1].append(_seconds(lambda: engine.run({"frames_rgb": frames_rgb})))
            times[2].append(min(_seconds(lambda: square @ square) for _ in range(_CEILING_PRODUCTS)))
    return Comparison(threads, gflop, *times)


def format_comparison(comparison: Comparison) -> str:
    """Return the comparison for people, in a few lines."""
    lines = [f"{comparison.threads} thread(s), {comparison.gflop:.1f} GFLOP a batch"]
    for name, seconds in (("torch eager", comparison.torch_s), ("onnxruntime", comparison.engine_s)):
        middle = statistics.median(seconds)
        lines.append(f"  {name:<12} median {middle:.3f} s, min {min(seconds):.3f} s, max {max(seconds):.3f} s")
    lines.append(f"  C1 torch / ours      {comparison.c1():.3f}")
    lines.append(
        f"  C2 ours / sgemm      {comparison.c2():.3f}   "
        f"({comparison.engine_gflops():.1f} of {comparison.ceiling_gflops():.1f} GFLOP/s)"
    )
    lines.append("  C3 int8              not shipped")
    return "\n".join(lines)


def cpu_benchmark(
    checkpoint: Annotated[str, typer.Argument(help="What the bundle was exported from.")],
    bundle: Annotated[Path, typer.Argument(help="The bundle.")],
    threads: Annotated[list[int] | None, typer.Option(help="May be repeated; 1 and 2 by default.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="At least 7 for figures to quote.")] = 7,
    frames: Annotated[int, typer.Option(min=1, help="Frames in a batch.")] = 1,
) -> None:
    """Compare ONNX Runtime with PyTorch eager on the CPU, taking turns."""
    run, _ = read_checkpoint(checkpoint)
    module = reference_graphs(run.model)["dual_encoder"].eval()
    size_px = run.config.model.frame_size_px
    del run
    gc.collect()
    frames_rgb = np.random.default_rng(0).integers(0, 256, (frames, size_px, size_px, 3), dtype=np.uint8)
    graph = load_bundle(bundle).graphs_for("fp32")["dual_encoder"]
    for count in threads or (1, 2):
        typer.echo(format_comparison(compare(graph, module, frames_rgb, count, rounds)))
        gc.collect()


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _count_gflop(module: nn.Module, images: torch.Tensor) -> float:
    # The counter does not see into torch's fused attention.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter:
            module(images)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.get_total_flops() / 1e9


def _check_same(expected: np.ndarray, actual: np.ndarray) -> None:
    cosine = float((expected.astype(np.float64) * actual).sum(1).min())  # both have length 1
    if not cosine >= MIN_COSINE:
        raise ModelError(f"the bundle is not of this checkpoint: cosine {cosine:.6f}; export it again")
