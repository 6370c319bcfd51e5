"""``vidtag eval``: how far are the estimates from a true track?"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidtag_cli.commands.console import (
    output_json,
    output_lines,
    path_fields,
    printable,
    progress,
    say_error,
    showing_builds,
    stderr_console,
)
from vidtag_cli.commands.options import (
    CalibrationOption,
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
from vidtag_cli.errors import ALL_FRAMES_ABSTAINED, SOME_INPUTS_FAILED, UsageError, VidtagError
from vidtag_cli.exhaustion import check_room_to_run

if TYPE_CHECKING:
    from vidtag_cli.evaluation.scoring import ScoredTrack
    from vidtag_cli.pipeline.known_videos import KnownVideo

NOTHING_LOCATED = "no frame with a true position was located: there is no error to measure"


def eval_command(
    videos: Annotated[
        list[Path], typer.Argument(metavar="VIDEO", readable=False, help="Local videos with a known track.")
    ],
    truth: Annotated[
        list[Path] | None,
        typer.Option(
            readable=False,
            help="True track (GPX, CSV, GeoJSON; embedded: a GoPro's own GPS), one a video in order; default: the file "
            "of the same name beside it.",
        ),
    ] = None,
    start_time: Annotated[
        str | None,
        typer.Option(
            "--start-time",
            "--media-zero",
            help="For truth in UTC, as in locate: instant of the first frame (default: the file's own date with its "
            "zone, else the truth is assumed to begin with the first frame).",
        ),
    ] = None,
    first_fix_at_s: Annotated[
        float | None, typer.Option(help="For truth in UTC: media time of its first entry, instead of --start-time.")
    ] = None,
    max_gap_s: Annotated[
        float, typer.Option(help="Between positions further apart than this many seconds the truth is unknown.")
    ] = 10.0,
    exit_zero_on_abstain: Annotated[
        bool, typer.Option("--exit-zero-on-abstain", help="Exit with 0 instead of 8 when no frame could be located.")
    ] = False,
    fps: Annotated[float | None, typer.Option(min=0.001, help="Frames analysed per second of video.")] = None,
    shots: ShotsOption = None,
    smooth: SmoothOption = "none",
    max_speed_kmh: MaxSpeedOption = None,
    model: ModelOption = None,
    gallery: GalleryOption = None,
    calibration: CalibrationOption = None,
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

    A video that fails while it is decoded costs the others nothing: they are measured and the exit code is 9.
    """
    from vidtag_cli.evaluation.metrics import THRESHOLDS_KM
    from vidtag_cli.evaluation.scoring import summarize_scores, truth_record
    from vidtag_cli.pipeline.known_videos import open_known_videos, score_or_error
    from vidtag_cli.pipeline.locate import LocateOptions
    from vidtag_cli.pipeline.path import plausible_speed_km_h
    from vidtag_cli.pipeline.session import open_session
    from vidtag_cli.pipeline.time_basis import parse_start_time

    if first_fix_at_s is not None and start_time is not None:
        raise UsageError("--first-fix-at-s and --start-time both align the truth: give one of them")
    if start_time is not None and len(videos) > 1:
        raise UsageError(f"--start-time is the instant of one video's first frame and {len(videos)} videos are given")
    check_finite("--fps", fps)
    check_finite("--first-fix-at-s", first_fix_at_s)
    if not 0.0 < max_gap_s < float("inf"):
        raise UsageError(f"--max-gap-s {max_gap_s:g}: give a number of seconds above 0")
    check_max_speed(smooth, max_speed_kmh)
    start = None if start_time is None else parse_start_time(start_time, "--start-time/--media-zero")
    for video in videos:
        check_is_there(video)
    console = stderr_console(quiet, no_color)

    def warn(text: str) -> None:
        console.print(f"vidtag: warning: {printable(text)}")

    known_videos = open_known_videos(videos, truth, start, first_fix_at_s, warn)
    check_room_to_run()
    with showing_builds(console, "opening the model", quiet) as observer:
        session = open_session(
            model, gallery_path=gallery, engine=engine, device=device, threads=threads, precision=precision,
            calibration=calibration, observer=observer,
        )  # fmt: skip
    options = LocateOptions(
        sampling_fps=fps,
        shots=shots or "split",
        smooth=smooth,
        max_speed_km_h=max_speed_kmh or plausible_speed_km_h(session.rule),
    )
    measured: list[KnownVideo] = []
    scored: list[ScoredTrack] = []
    failed: list[tuple[Path, VidtagError]] = []
    for known in known_videos:
        with progress(console, known.path.name, quiet) as show:
            outcome = score_or_error(known, session, options, max_gap_s, show)
        if isinstance(outcome, VidtagError):
            if len(known_videos) == 1:
                raise outcome
            failed.append((known.path, outcome))
            say_error(f"{known.path}: not measured: {outcome}")
            continue
        measured.append(known)
        scored.append(outcome)
        _warn_about(outcome, known.path, warn)
    if not scored:
        raise typer.Exit(SOME_INPUTS_FAILED)
    summary = summarize_scores(scored, THRESHOLDS_KM)
    if as_json:
        output_json({
            "schema": "vidtag-eval/1", "model": session.bundle.name, "smoothing": scored[0].track.smoothing,
            "videos": [path_fields(known.path) for known in measured],
            "truths": [
                path_fields(known.truth_path) | truth_record(entry)
                for known, entry in zip(measured, scored, strict=True)
            ],
            "metrics": summary,
            "failed": [
                {**path_fields(path), "exit_code": error.exit_code, "error": printable(str(error))}
                for path, error in failed
            ],
        })  # fmt: skip
    else:
        truths = [line for entry in scored for line in _truth_lines(entry)]
        left_out = [f"not measured, see the error: {printable(str(path))}" for path, _ in failed]
        output_lines([f"model {printable(session.bundle.name)}", *truths, *left_out, *_lines(summary)])
    if failed:
        raise typer.Exit(SOME_INPUTS_FAILED)
    if summary["frames"]["located"] == 0:
        console.print(f"vidtag: {NOTHING_LOCATED}")
        raise typer.Exit(0 if exit_zero_on_abstain else ALL_FRAMES_ABSTAINED)


def _warn_about(entry: ScoredTrack, video: Path, warn: Callable[[str], None]) -> None:
    """Say what a reader of the numbers must know: that the alignment is a guess, that frames were not judged."""
    if entry.alignment.method == "assumed":
        warn(f"{video}: {entry.alignment.statement}")
    if frames := entry.frames_in_gaps():
        warn(
            f"{video}: {frames} frames are not judged: the truth's positions around them are more than "
            f"{entry.max_gap_s:g} s apart (--max-gap-s) or in different segments"
        )


def _truth_lines(entry: ScoredTrack) -> list[str]:
    source = entry.truth.source
    file = "" if source is None else f"{printable(str(source.path))}, SHA-256 {source.sha256}"
    lines = [f"truth of {printable(entry.track.name)}: {file}", f"  {printable(entry.alignment.statement)}"]
    unknown = int(sum(math.isnan(lat_deg) for lat_deg in entry.truth_latlon_deg[:, 0]))
    if unknown:
        lines.append(
            f"  without truth: {unknown} of {len(entry.track.points)} frames, outside the track or where its positions "
            f"are more than {entry.max_gap_s:g} s apart (--max-gap-s) or in different segments"
        )
    return lines


def _lines(summary: dict[str, Any]) -> list[str]:
    if summary["frames"]["located"] == 0:
        metrics = summary["frames"]
        return [f"frames: {metrics['count']}, located 0, without truth {metrics['without_truth']}", NOTHING_LOCATED]
    lines = []
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
