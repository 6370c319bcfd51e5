"""The options that mean the same in every command.

Every path has ``readable=False``: otherwise Typer itself refuses a file without permission, as wrong usage, where the
command has a code of its own for it and, in a batch, other inputs to do.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from vidtag_cli.errors import InputError, UsageError, missing_file, url_of

JsonOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON to stdout instead of text.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.")]
VerboseOption = Annotated[int, typer.Option("--verbose", "-v", count=True, help="Say more on stderr; repeatable.")]
NoColorOption = Annotated[bool, typer.Option("--no-color", help="Use no colours, as with NO_COLOR set.")]

ModelOption = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME|PATH", help="The model (default: $VIDTAG_MODEL, then the configuration)."),
]
GalleryOption = Annotated[
    Path | None, typer.Option("--gallery", readable=False, help="A gallery folder (default: the model's own).")
]
EngineOption = Annotated[str, typer.Option("--engine", help="What runs the networks; 'vidtag doctor' lists them.")]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda or cuda:N (default: cpu for onnxruntime, else cuda).")
]
PrecisionOption = Annotated[
    str | None, typer.Option("--precision", help="fp32 or fp16, where the model has it (default: the model's own).")
]
CalibrationOption = Annotated[
    Path | None,
    typer.Option(
        "--calibration", readable=False, help="A file of vidtag calibrate for this model, in place of its own figures."
    ),
]
MAX_THREADS = 1024
"""Above the processors of any machine; a hundred thousand threads end the machine and not only the run."""

ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, max=MAX_THREADS, help="CPU threads (default: all).")
]

SmoothOption = Annotated[
    Literal["none", "viterbi"],
    typer.Option("--smooth", help="viterbi: of the places of each frame, those on one plausible path."),
]
MaxSpeedOption = Annotated[
    float | None,
    typer.Option("--max-speed-kmh", help="The fastest plausible camera, with --smooth viterbi: 250, or the model's."),
]

ShotsOption = Annotated[
    Literal["split", "whole"] | None,
    typer.Option("--shots", help="split: look for cuts, each shot by itself (default); whole: the video is one shot."),
]


OUTPUT_SUFFIXES = (".gpx", ".kml", ".geojson", ".csv")


def check_is_there(video: Path) -> None:
    """Raise InputError for a video that is missing or a folder: before a model is asked for, which is not to blame."""
    if os.path.isdir(video):
        raise InputError(f"{video}: this is a folder: name the videos in it")
    if not os.path.lexists(video):
        raise missing_file(video)


def check_is_no_output(video: Path) -> None:
    """Raise UsageError for a video whose name is that of an output that does not exist yet."""
    if video.suffix.lower() in OUTPUT_SUFFIXES and not os.path.lexists(video) and url_of(video) is None:
        raise UsageError(f"{video}: there is no such file; if it is an output, give it with --out")


def check_is_file_name(output: Path) -> None:
    """Raise UsageError for an output that is a folder."""
    if os.path.isdir(output):
        raise UsageError(f"--out {output}: this is a folder: give --out-dir {output}, or the name of a file in it")


def check_is_local(*outputs: Path | None) -> None:
    """Raise UsageError for an output that is an address: it would become folders of that name here."""
    for output in outputs:
        url = None if output is None else url_of(output)
        if url is not None:
            raise UsageError(f"{url}: outputs are local files: give the path of one, and copy it there afterwards")


def check_finite(option: str, value: float | None) -> None:
    """Raise UsageError for NaN and infinity: Typer takes both for numbers."""
    if value is not None and not math.isfinite(value):
        raise UsageError(f"{option} {value}: give a finite number")


def check_max_speed(smooth: str, max_speed_kmh: float | None) -> None:
    """Raise UsageError for a speed without a path, or for one that no camera has."""
    if max_speed_kmh is None:
        return
    if smooth == "none":
        raise UsageError("--max-speed-kmh says what a path may be: it needs --smooth viterbi")
    if not 0.0 < max_speed_kmh < float("inf"):
        raise UsageError(f"--max-speed-kmh {max_speed_kmh:g}: give a speed above 0")
