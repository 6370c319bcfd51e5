"""``vidtag eval``: how far are the estimates from a true track?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vidtag_cli.commands.console import (
    output_json,
    output_lines,
    path_fields,
    printable,
    progress,
    showing_builds,
    stderr_console,
)
from vidtag_cli.commands.options import (
    DeviceOption,
    EngineOption,
    GalleryOption,
    JsonOption,
    MaxSpeedOption,
    ModelOption,
    NoColorOption,
    PrecisionOption,
    QuietOption,
    ShotsOption,
    SmoothOption,
    ThreadsOption,
    check_finite,
    check_is_there,
    check_max_speed,
)
from vidtag_cli.errors import UsageError
from vidtag_cli.exhaustion import check_room_to_run


def eval_command(
    videos: Annotated[
        list[Path], typer.Argument(metavar="VIDEO", readable=False, help="Local videos with a known track.")
    ],
    truth: Annotated[
        list[Path] | None,
        typer.Option(
            readable=False, help="True track (GPX, CSV, GeoJSON), one a video in order; default: beside it, same name."
        ),
    ] = None,
    first_fix_at_s: Annotated[
        float | None, typer.Option(help="Media time of the truth's first fix (default: the first analysed frame).")
    ] = None,
    media_zero: Annotated[
        str | None, typer.Option(help="Instant of media time 0, such as 2024-05-17T09:30:05Z, for truth in UTC.")
    ] = None,
    fps: Annotated[float | None, typer.Option(min=0.001, help="Frames analysed per second of video.")] = None,
    shots: ShotsOption = None,
    smooth: SmoothOption = "none",
    max_speed_kmh: MaxSpeedOption = None,
    model: ModelOption = None,
    gallery: GalleryOption = None,
    engine: EngineOption = "onnxruntime",
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Compare estimates with true tracks: error of frames and of videos, discrete Frechet distance, mean range
    difference.
    """
    from vidtag_cli.evaluation.metrics import THRESHOLDS_KM
    from vidtag_cli.evaluation.scoring import score_track, summarize_scores, truth_beside
    from vidtag_cli.pipeline.locate import LocateOptions
    from vidtag_cli.pipeline.path import plausible_speed_km_h
    from vidtag_cli.pipeline.run import locate_unchanged
    from vidtag_cli.pipeline.session import open_session
    from vidtag_cli.pipeline.time_basis import parse_start_time

    if truth and len(truth) != len(videos):
        raise UsageError(f"{len(videos)} videos and {len(truth)} --truth files: give one for each, in the same order")
    if first_fix_at_s is not None and media_zero is not None:
        raise UsageError("--first-fix-at-s and --media-zero both align the truth: give one of them")
    check_finite("--fps", fps)
    check_finite("--first-fix-at-s", first_fix_at_s)
    check_max_speed(smooth, max_speed_kmh)
    zero = None if media_zero is None else parse_start_time(media_zero, "--media-zero")
    for video in videos:
        check_is_there(video)
    truths = truth or [truth_beside(video) for video in videos]
    check_room_to_run()
    console = stderr_console(quiet, no_color)
    with showing_builds(console, "opening the model", quiet) as observer:
        session = open_session(
            model, gallery_path=gallery, engine=engine, device=device, threads=threads, precision=precision,
            observer=observer,
        )  # fmt: skip
    options = LocateOptions(
        sampling_fps=fps,
        shots=shots or "split",
        smooth=smooth,
        max_speed_km_h=max_speed_kmh or plausible_speed_km_h(session.rule),
    )
    scored = []
    for video, true_path in zip(videos, truths, strict=True):
        with progress(console, video.name, quiet) as show:
            located, _, _ = locate_unchanged(video, session, options, progress=show)
        scored.append(score_track(located.track, true_path, zero, first_fix_at_s))
    summary = summarize_scores(scored, THRESHOLDS_KM)
    if as_json:
        names = [path_fields(video) for video in videos]
        smoothing = scored[0].track.smoothing
        output_json({
            "schema": "vidtag-eval/1", "model": session.bundle.name, "smoothing": smoothing, "videos": names,
            "metrics": summary,
        })  # fmt: skip
    else:
        output_lines(_lines(session.bundle.name, summary))


def _lines(model_name: str, summary: dict[str, Any]) -> list[str]:
    lines = [f"model {printable(model_name)}"]
    for level in ("frames", "videos"):
        metrics = summary[level]
        lines.append(
            f"{level}: {metrics['count']}, located {metrics['located']}, without truth {metrics['without_truth']}, "
            f"median error {_number(metrics['median_km'])} km"
        )
        shares = metrics["share_within_km"].items()
        lines.append("  within " + ", ".join(f"{limit} km {_percent(share)}" for limit, share in shares))
    circles = summary["circles"]
    lines.append(
        f"true place inside the 50 % circle {_percent(circles['share_within_radius50'])}, inside the 95 % circle "
        f"{_percent(circles['share_within_radius95'])} of {circles['frames']} located frames"
    )
    for name, title in (("dfd", "discrete Frechet distance"), ("mrd", "mean range difference")):
        km, degrees = summary[f"mean_{name}_km"], summary[f"mean_{name}_deg"]
        lines.append(f"{title}: {_number(km)} km ({_number(degrees)} degrees)")
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100.0 * share:.1f} %"
