"""``vidtag locate``: where was each frame of these videos taken?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vidtag_cli.commands.console import (
    output_json,
    output_table,
    path_fields,
    printable,
    progress,
    set_verbosity,
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
    VerboseOption,
    check_finite,
    check_is_file_name,
    check_is_local,
    check_is_no_output,
    check_is_there,
    check_max_speed,
)
from vidtag_cli.errors import ALL_FRAMES_ABSTAINED, SOME_INPUTS_FAILED, UsageError, VidtagError
from vidtag_cli.exhaustion import check_room_to_run

if TYPE_CHECKING:
    from rich.console import Console

    from vidtag_cli.pipeline.run import OutputRequest, RunResult
    from vidtag_cli.track import TrackPoint


def locate_command(
    videos: Annotated[
        list[Path] | None, typer.Argument(metavar="VIDEO", readable=False, help="Local video files.")
    ] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "--out", "-o", readable=False, help="Output of one video: .gpx .kml .geojson .csv, repeatable; - is stdout."
        ),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            readable=False, help="Folder for the outputs, STEM.HASH.SUFFIX for each video; made where missing."
        ),
    ] = None,
    format_names: Annotated[
        str | None, typer.Option("--format", help="gpx, kml, geojson, csv; with --out-dir a list such as gpx,kml.")
    ] = None,
    model: ModelOption = None,
    gallery: GalleryOption = None,
    calibration: CalibrationOption = None,
    fps: Annotated[
        float | None, typer.Option(min=0.001, help="Frames analysed per second of video (default: the model's).")
    ] = None,
    all_frames: Annotated[bool, typer.Option("--all-frames", help="Analyse every frame.")] = False,
    top_k: Annotated[int, typer.Option(min=1, max=50, help="Candidate places kept per frame.")] = 5,
    start_time: Annotated[
        str | None, typer.Option(help="Instant of the first frame, such as 2024-05-17T09:30:05Z.")
    ] = None,
    expect_sha256: Annotated[
        str | None, typer.Option(help="Stop (exit code 7) unless the input has this SHA-256.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(readable=False, help="Evidence record (default: beside the first output).")
    ] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no evidence record.")] = False,
    geojson_shape: Annotated[
        Literal["point", "line"], typer.Option(help="GeoJSON as points, or as a line with its times.")
    ] = "point",
    csv_abstained: Annotated[
        bool, typer.Option("--csv-abstained", help="CSV with a row, without position, for each frame that abstained.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop (exit code 4) when the input is incomplete or damaged.")
    ] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Do not ask whether the model agrees with itself on changed pictures.")
    ] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first input that fails.")] = False,
    exit_zero_on_abstain: Annotated[
        bool, typer.Option("--exit-zero-on-abstain", help="Exit with 0 instead of 8 when no frame could be located.")
    ] = False,
    files_from: Annotated[
        Path | None, typer.Option(readable=False, help="Read more video names from a file, one a line; - is stdin.")
    ] = None,
    null_separated: Annotated[
        bool, typer.Option("--null", "-0", help="The names of --files-from end with NUL instead of a line break.")
    ] = False,
    decode: Annotated[
        Literal["exact", "fast", "keyframes"],
        typer.Option(help="Which frames are decoded: all, without those no other needs, or key frames alone."),
    ] = "exact",
    decode_device: Annotated[
        str, typer.Option(help="Where video is decoded: cpu, cuda or cuda:N; a GPU that cannot is an error.")
    ] = "cpu",
    stream: Annotated[
        int | None, typer.Option(min=0, help="The video stream to locate, as ffmpeg counts them (default: as ffmpeg).")
    ] = None,
    max_pixels: Annotated[int, typer.Option(min=1, help="The largest picture that is decoded, in pixels.")] = 8192
    * 8192,
    max_frame_rate: Annotated[
        float, typer.Option(min=1.0, help="The highest average frame rate that is decoded, per second.")
    ] = 2000.0,
    stall_timeout: Annotated[
        float, typer.Option(min=0.1, help="End an ffmpeg that gives nothing for so many seconds.")
    ] = 60.0,
    shots: ShotsOption = None,
    smooth: SmoothOption = "none",
    max_speed_kmh: MaxSpeedOption = None,
    engine: EngineOption = "onnxruntime",
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
    no_color: NoColorOption = False,
) -> None:
    """Locate videos and write their tracks.

    With --out or --out-dir the tracks are written to files and stdout stays empty; without them a table is printed.
    The answer for the whole video comes first, on stderr; the record, --json and every format but CSV hold it too.
    """
    from vidtag_cli.pipeline.batch import locate_or_error, named_inputs, requests_for
    from vidtag_cli.pipeline.calibration import NOT_MEASURED_THERE, UNCALIBRATED, UncalibratedRule
    from vidtag_cli.pipeline.evidence import check_is_sha256
    from vidtag_cli.pipeline.limitations import calibration_text
    from vidtag_cli.pipeline.locate import LocateOptions
    from vidtag_cli.pipeline.path import plausible_speed_km_h
    from vidtag_cli.pipeline.session import open_session
    from vidtag_cli.pipeline.time_basis import parse_start_time
    from vidtag_cli.writers.atomic import make_output_folder

    set_verbosity(verbose, quiet)
    inputs = named_inputs(videos or [], files_from, null_separated)
    for path in inputs:
        check_is_no_output(path)
    for path in out or []:
        check_is_file_name(path)
    check_is_local(*(out or []), out_dir, report)
    if fps is not None and all_frames:
        raise UsageError("--fps and --all-frames contradict each other: give one of them")
    check_finite("--fps", fps)
    check_finite("--max-frame-rate", max_frame_rate)
    check_finite("--stall-timeout", stall_timeout)
    check_max_speed(smooth, max_speed_kmh)
    if shots == "split" and decode == "keyframes":
        raise UsageError("--shots split: key frames alone are too far apart to find cuts: leave one of the two out")
    if as_json and "-" in [str(path) for path in out or []]:
        raise UsageError("--json and --out - both write to stdout: give one of them")
    _check_for_one_video(len(inputs), start_time, expect_sha256)
    instant = None if start_time is None else parse_start_time(start_time)
    if expect_sha256 is not None:
        check_is_sha256(expect_sha256)
    requests = requests_for(
        inputs, out or [], out_dir, format_names, None if no_report else report, not no_report, force, geojson_shape,
        csv_abstained,
    )  # fmt: skip
    if len(inputs) == 1:  # of several, the others have their turn
        check_is_there(inputs[0])
    check_room_to_run()
    if out_dir is not None:
        make_output_folder(out_dir)
    console = stderr_console(quiet, no_color)
    with showing_builds(console, "opening the model", quiet) as observer:
        session = open_session(
            model, gallery_path=gallery, engine=engine, device=device, threads=threads, precision=precision,
            calibration=calibration, observer=observer,
        )  # fmt: skip
    if isinstance(session.rule, UncalibratedRule):
        console.print(f"vidtag: {UNCALIBRATED}")
    elif not session.searches_own_gallery:
        console.print(f"vidtag: {NOT_MEASURED_THERE}")
    elif session.calibration is not None:
        console.print(f"vidtag: {printable(calibration_text(session.calibration))}")
    results: list[RunResult | VidtagError] = []
    options = LocateOptions(
        sampling_fps=fps, all_frames=all_frames, top_k=top_k, decode_mode=decode, decode_device=decode_device,
        shots=shots or ("whole" if decode == "keyframes" else "split"),
        smooth=smooth, max_speed_km_h=max_speed_kmh or plausible_speed_km_h(session.rule), strict=strict, fast=fast,
        stream=stream, max_pixels=max_pixels, max_frame_rate_fps=max_frame_rate, stall_timeout_s=stall_timeout,
    )  # fmt: skip
    for path, request in requests:
        with progress(console, path.name, quiet) as show:
            outcome = locate_or_error(path, session, options, request, instant, expect_sha256, show)
        results.append(outcome)
        _say_outcome(console, path, outcome, len(requests) > 1)
        if isinstance(outcome, VidtagError) and (fail_fast or len(requests) == 1):
            break
    _print_results(requests, results, as_json, has_outputs=bool(out or out_dir))
    raise typer.Exit(_exit_code(results, len(requests), exit_zero_on_abstain))


def _check_for_one_video(inputs: int, start_time: str | None, expect_sha256: str | None) -> None:
    if inputs == 1:
        return
    if start_time is not None:
        raise UsageError(f"--start-time is that of one video and {inputs} are given: locate each with its own")
    if expect_sha256 is not None:
        raise UsageError(f"--expect-sha256 is that of one video and {inputs} are given: locate each with its own")


def _say_outcome(console: Console, path: Path, outcome: RunResult | VidtagError, is_batch: bool) -> None:
    from vidtag_cli.writers.answer import answer_lines

    name = printable(str(path))
    if isinstance(outcome, VidtagError):
        if is_batch:
            console.print(f"vidtag: {name}: error: {printable(str(outcome))}")
        return
    summary = outcome.summary()["summary"]
    text = f"{summary['ok']} of {summary['frames']} frames located"
    if len(summary["shots"]) > 1:
        text += f", in {len(summary['shots'])} shots"
    if summary["abstain_reasons"]:
        text += "; abstained: " + ", ".join(f"{why} ({n})" for why, n in summary["abstain_reasons"].items())
    for line in answer_lines(outcome.located.track):
        console.print(f"vidtag: {name}: {line}")
    console.print(f"vidtag: {name}: {text}")
    decoded = outcome.located.decoded
    if not decoded.is_complete:
        console.print(f"vidtag: {name}: incomplete or damaged: {printable('; '.join(decoded.missing))}")
    for note in decoded.notes:
        console.print(f"vidtag: {name}: {printable(note)}")
    for note in outcome.notes():
        console.print(f"vidtag: {printable(note)}")


def _exit_code(results: list[RunResult | VidtagError], inputs: int, exit_zero_on_abstain: bool) -> int:
    failed = [result for result in results if isinstance(result, VidtagError)]
    if failed and inputs == 1:
        raise failed[0]
    if failed:
        return SOME_INPUTS_FAILED
    abstained = any(not isinstance(result, VidtagError) and result.exit_code != 0 for result in results)
    return ALL_FRAMES_ABSTAINED if abstained and not exit_zero_on_abstain else 0


def _print_results(
    requests: list[tuple[Path, OutputRequest]],
    results: list[RunResult | VidtagError],
    as_json: bool,
    has_outputs: bool,
) -> None:
    """Print one JSON line, or the table of estimates when nothing was written to files."""
    if as_json:
        if len(requests) == 1 and isinstance(results[0], VidtagError):
            return  # the error object is printed where the exit code is made
        inputs = []
        for (path, _), result in zip(requests, results, strict=False):
            if isinstance(result, VidtagError):
                inputs.append({**path_fields(path), "exit_code": result.exit_code, "error": printable(str(result))})
            else:
                inputs.append(result.summary())
        output_json({"schema": "vidtag-locate/1", "inputs": inputs})
        return
    if has_outputs:
        return
    for (path, _), result in zip(requests, results, strict=False):
        if isinstance(result, VidtagError):
            continue
        rows = [(path.name, *point_cells(point)) for point in result.located.track.points]
        output_table(("FILE", "FRAME", "TIME_S", "LAT", "LON", "RADIUS95_KM", "CONFIDENCE", "NOTE"), rows)


def point_cells(point: TrackPoint) -> tuple[str, ...]:
    """Return the cells of one estimate for a table."""
    head = (str(point.frame_index), f"{point.media_time_s:.3f}")
    if point.status != "ok":
        return (*head, "-", "-", "-", "-", f"abstained: {point.abstain_reason}")
    radius_km = (point.radius95_m or 0.0) / 1000.0
    return (*head, f"{point.lat_deg:.4f}", f"{point.lon_deg:.4f}", f"{radius_km:.0f}", f"{point.confidence:.2f}", "")
