"""``vidtag check``: do the pictures go with the place that is claimed?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vidtag_cli.commands.console import (
    output_json,
    output_lines,
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
    JsonOption,
    ModelOption,
    NoColorOption,
    PrecisionOption,
    QuietOption,
    ShotsOption,
    ThreadsOption,
    VerboseOption,
    check_finite,
    check_is_local,
    check_is_there,
)
from vidtag_cli.errors import CLAIM_INCONSISTENT, CLAIM_UNDECIDED, UsageError
from vidtag_cli.exhaustion import check_room_to_run

if TYPE_CHECKING:
    from vidtag_cli.pipeline.check import CheckResult

EXIT_OF_VERDICT = {"consistent": 0, "inconsistent": CLAIM_INCONSISTENT, "cannot say": CLAIM_UNDECIDED}

VERDICT_SENTENCES = {
    "inconsistent": "The pictures speak against the claim.",
    "consistent": "The pictures do not speak against the claim; this does not show that it is true.",
    "cannot say": "The pictures say nothing about the claim, for or against it.",
}


def check_command(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", readable=False, help="A local video file.")],
    claim: Annotated[
        str,
        typer.Option(help="LAT,LON[,KM]; a track (.gpx .csv .geojson); or embedded, what the file says of itself."),
    ],
    start_time: Annotated[
        str | None, typer.Option(help="For a track in UTC: instant of the first frame, such as 2024-05-17T09:30:05Z.")
    ] = None,
    first_fix_at_s: Annotated[
        float | None, typer.Option(help="For a track in UTC: media time of its first entry, instead of --start-time.")
    ] = None,
    expect_sha256: Annotated[
        str | None, typer.Option(help="Stop (exit code 7) unless the input has this SHA-256.")
    ] = None,
    report: Annotated[Path | None, typer.Option(readable=False, help="Write the evidence record of the check.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a record that exists.")] = False,
    exit_verdict: Annotated[
        bool, typer.Option("--exit-verdict", help="Exit with 10 for inconsistent and 11 for cannot say.")
    ] = False,
    fps: Annotated[float | None, typer.Option(min=0.001, help="Frames analysed per second of video.")] = None,
    all_frames: Annotated[bool, typer.Option("--all-frames", help="Analyse every frame.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop (exit code 4) when the input is incomplete or damaged.")
    ] = False,
    stream: Annotated[int | None, typer.Option(min=0, help="The video stream to check, as ffmpeg counts them.")] = None,
    decode: Annotated[
        Literal["exact", "fast"], typer.Option(help="Which frames are decoded: all, or without those no other needs.")
    ] = "exact",
    decode_device: Annotated[str, typer.Option(help="Where video is decoded: cpu, cuda or cuda:N.")] = "cpu",
    shots: ShotsOption = None,
    model: ModelOption = None,
    calibration: CalibrationOption = None,
    engine: EngineOption = "onnxruntime",
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = 0,
    no_color: NoColorOption = False,
) -> None:
    """Hold a video against the place where it is claimed to have been filmed: inconsistent, consistent or cannot say.

    Claims are tested among the model's own places, which its figures were measured with.
    """
    from vidtag_cli.pipeline.check import check_input
    from vidtag_cli.pipeline.claimed_place import parse_claim
    from vidtag_cli.pipeline.evidence import check_is_sha256
    from vidtag_cli.pipeline.locate import LocateOptions
    from vidtag_cli.pipeline.session import open_session
    from vidtag_cli.pipeline.time_basis import parse_start_time
    from vidtag_cli.video.probe import probe_video

    set_verbosity(verbose, quiet)
    if first_fix_at_s is not None and start_time is not None:
        raise UsageError("--first-fix-at-s and --start-time both align the claim: give one of them")
    if fps is not None and all_frames:
        raise UsageError("--fps and --all-frames contradict each other: give one of them")
    check_finite("--fps", fps)
    check_finite("--first-fix-at-s", first_fix_at_s)
    check_is_local(report)
    if report is not None and str(report) == "-":
        raise UsageError("--report -: the record is written to a file: give it a name")
    if expect_sha256 is not None:
        check_is_sha256(expect_sha256)
    instant = None if start_time is None else parse_start_time(start_time)
    check_is_there(video)
    place = parse_claim(claim, lambda: probe_video(video))
    check_room_to_run()
    console = stderr_console(quiet, no_color)
    with showing_builds(console, "opening the model", quiet) as observer:
        session = open_session(
            model, engine=engine, device=device, threads=threads, precision=precision, calibration=calibration,
            observer=observer,
        )  # fmt: skip
    options = LocateOptions(
        sampling_fps=fps, all_frames=all_frames, strict=strict, stream=stream, decode_mode=decode,
        decode_device=decode_device, shots=shots or "split",
    )  # fmt: skip
    with progress(console, video.name, quiet) as show:
        result = check_input(
            video, session, options, place, start_time=instant, first_fix_at_s=first_fix_at_s,
            expected_sha256=expect_sha256, report=report, force=force, progress=show,
        )  # fmt: skip
    for note in result.notes:
        console.print(f"vidtag: {printable(note)}")
    if as_json:
        output_json(result.summary())
    else:
        output_lines([printable(line) for line in check_lines(result)])
    raise typer.Exit(EXIT_OF_VERDICT[result.judgement.verdict] if exit_verdict else 0)


def check_lines(result: CheckResult) -> list[str]:
    """Return a check in words, one statement a line: the verdict, the hypotheses, the numbers, what limits them."""
    from vidtag_cli.pipeline.check import LIMITS

    judgement, track = result.judgement, result.located.track
    first, second = result.hypotheses()
    lines = [
        f"verdict: {judgement.verdict}: {judgement.reason}",
        VERDICT_SENTENCES[judgement.verdict],
        f"hypothesis 1: {first}",
        f"hypothesis 2: {second}",
        f"frames: {len(track.points)} analysed, {sum(shot.frames for shot in result.shots)} take part",
    ]
    if result.alignment is not None:
        lines.append(f"times of the claim: {result.alignment}")
    if len(result.shots) > 1:
        lines.append("shots: " + ", ".join(f"{shot.shot}: {shot.statistic:.2f}" for shot in result.shots))
    if result.statistic is not None:
        lines.append(f"statistic: {result.statistic:.2f} (log ratio of belief; the least of the shots)")
    if judgement.likelihood_ratio is not None and judgement.p_value is not None:
        lines.append(f"likelihood ratio: {judgement.likelihood_ratio:.2g}: {judgement.support}")
        lines.append(f"share of true claims that score this low: at most {judgement.p_value:.1%}")
    return [*lines, *_power_lines(result), *LIMITS, *track.limitations]


def _power_lines(result: CheckResult) -> list[str]:
    if result.tables is None:
        return []
    power = result.record()["power"].items()
    shares = ", ".join(f"{name.replace('_', ' ')} {share:.0%}" for name, share in power)
    return [f"false claims found at 5 % false alarms, by how far off, of {result.tables.clips} clips: {shares}"]
