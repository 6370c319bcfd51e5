"""``python -m export onnx``: a bundle in every precision, ready for ONNX Runtime and TensorRT."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from export.bundle import TrainedModel, checked_name, write_bundle
from export.checkpoint import read_checkpoint
from export.graphs.half_precision import Precision
from export.parity.report import format_report
from vidtag_cli.engines.peak_memory import PeakMemory
from vidtag_cli.errors import InputError
from vidtag_cli.video import VideoDecoder, probe_video

PARITY_FRAMES = 16
"""The largest batch that is compared: at full size a frame takes seconds on each side."""

_PRECISIONS: dict[str, tuple[Precision, ...]] = {"fp32": ("fp32",), "fp16": ("fp16",), "both": ("fp32", "fp16")}


def onnx(
    checkpoint: Annotated[
        str, typer.Argument(help="Folder of a finished training run, or random:paper[:SEED] or random:paper4[:SEED].")
    ],
    out: Annotated[Path, typer.Option(help="The bundle to write: NAME.vidtag.")],
    precision: Annotated[
        Literal["fp32", "fp16", "both"], typer.Option(help="What the graphs compute in; the first is the default.")
    ] = "both",
    frames: Annotated[
        list[Path] | None, typer.Option(help="Videos whose pictures engines are compared on; may be repeated.")
    ] = None,
    parity_frames: Annotated[int, typer.Option(min=4, help="The largest batch that is compared.")] = PARITY_FRAMES,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing bundle.")] = False,
) -> None:
    """Export a model of any size for ONNX Runtime and TensorRT, and compare every graph with torch."""
    checked_name(out, force)
    start = time.perf_counter()
    with PeakMemory() as memory:
        run, about = read_checkpoint(checkpoint)
        if frames:
            pictures = video_pictures(frames, run.config.model.frame_size_px, parity_frames)
            run = dataclasses.replace(run, parity_frames_rgb=pictures)
        source = TrainedModel(
            run, about, store_weights="float32", precisions=_PRECISIONS[precision], for_tensorrt=True,
            max_frames=parity_frames,
        )  # fmt: skip
        made, reports = write_bundle(source, out, force=force)
    for report in reports:
        typer.echo(format_report(report))
    for path in sorted(made.path.iterdir()):
        typer.echo(f"{path.name:<36}{path.stat().st_size / 1e6:>10.1f} MB")
    seconds = time.perf_counter() - start
    typer.echo(f"{made.path}: {seconds:.0f} s, {memory.peak_bytes / 1e9:.1f} GB of memory at most")


def video_pictures(videos: list[Path], size_px: int, count: int) -> np.ndarray:
    """Return up to ``count`` pictures (M, S, S, 3) uint8 of videos, one a second, as many from each.

    Raises InputError when there are none.
    """
    of_each = -(-count // len(videos))
    pictures = []
    for path in videos:
        with VideoDecoder(path, probe_video(path), (size_px, size_px), sampling_fps=1.0) as decoder:
            for index, frame in enumerate(decoder):
                if index == of_each:
                    break
                pictures.append(frame.rgb.copy())  # frames of one block share an array
    if not pictures:
        raise InputError(f"{', '.join(map(str, videos))}: no pictures to compare engines on")
    return np.stack(pictures[:count])
