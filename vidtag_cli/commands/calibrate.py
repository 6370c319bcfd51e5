"""``vidtag calibrate``: how far may this model be off on footage like these clips?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    JsonOption,
    MaxSpeedOption,
    NoColorOption,
    PrecisionOption,
    QuietOption,
    ThreadsOption,
    check_finite,
    check_is_local,
    check_is_there,
)
from vidtag_cli.errors import InputError, UsageError, VideoError
from vidtag_cli.exhaustion import check_room_to_run

if TYPE_CHECKING:
    from vidtag_cli.bundle.calibration_file import CalibrationFile


def calibrate_command(
    model: Annotated[str, typer.Argument(metavar="NAME|PATH", help="The model, which is not changed.")],
    videos: Annotated[
        list[Path],
        typer.Argument(metavar="CLIP", readable=False, help="Local videos with known positions; 40 at least."),
    ],
    truth: Annotated[
        list[Path] | None,
        typer.Option(
            readable=False,
            help="True track (GPX, CSV, GeoJSON; embedded: a GoPro's own GPS), one a clip in order; default: the file "
            "of the same name beside it, else the GPS in it.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", readable=False, help="The file (default: MODEL.calibration.json).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of the split into clips to fit and measure on.")] = 0,
    first_fix_at_s: Annotated[
        float | None, typer.Option(help="For truth in UTC: media time of its first entry, in every clip.")
    ] = None,
    max_gap_s: Annotated[
        float, typer.Option(help="Between positions further apart than this many seconds the truth is unknown.")
    ] = 10.0,
    max_speed_kmh: MaxSpeedOption = None,
    engine: EngineOption = "onnxruntime",
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Measure a model on clips whose positions are known, and write what its circles are worth there to a file for
    --calibration. Half of the clips fit radii, scale and limits, the others measure how often the circles hold.
    """
    from vidtag_cli.bundle.calibration_file import SUFFIX, calibration_bytes
    from vidtag_cli.bundle.installed_models import find_model
    from vidtag_cli.calibration.from_clips import calibrate_from_clips, check_clip_count
    from vidtag_cli.calibration.known_clips import locate_clip, open_known_clips
    from vidtag_cli.pipeline.locate import LocateOptions
    from vidtag_cli.pipeline.session import open_session
    from vidtag_cli.writers.atomic import atomic_write, check_output_free

    check_finite("--first-fix-at-s", first_fix_at_s)
    if not 0.0 < max_gap_s < float("inf"):
        raise UsageError(f"--max-gap-s {max_gap_s:g}: give a number of seconds above 0")
    if max_speed_kmh is not None and not 0.0 < max_speed_kmh < float("inf"):
        raise UsageError(f"--max-speed-kmh {max_speed_kmh:g}: give a speed above 0")
    for video in videos:
        check_is_there(video)
    check_is_local(out)
    target = out or Path(f"{find_model(model).stem}{SUFFIX}")
    _check_is_beside_models(target)
    check_output_free(target, videos, force)
    console = stderr_console(quiet, no_color)

    def warn(text: str) -> None:
        console.print(f"vidtag: warning: {printable(text)}")

    known_clips = open_known_clips(videos, truth, first_fix_at_s, warn)
    check_clip_count(len(known_clips), len(videos) - len(known_clips))
    check_room_to_run()
    with showing_builds(console, "opening the model", quiet) as observer:
        session = open_session(
            model, engine=engine, device=device, threads=threads, precision=precision, observer=observer
        )
    clips = []
    for known in known_clips:
        with progress(console, known.path.name, quiet) as show:
            try:
                clips.append(locate_clip(known, session, LocateOptions(), max_gap_s, show))
            except (InputError, VideoError) as error:
                warn(f"left out: {error}")
    check_clip_count(len(clips), len(videos) - len(clips))
    file = calibrate_from_clips(session, clips, seed, max_speed_kmh)
    content = calibration_bytes(file)
    atomic_write(target, content, force=force)
    _print_file(target, content, file, as_json)


def _check_is_beside_models(target: Path) -> None:
    """Raise UsageError for a file inside a model: what is not listed there makes it another model."""
    from vidtag_cli.bundle.contract import BUNDLE_JSON

    folder = next((folder for folder in target.resolve().parents if (folder / BUNDLE_JSON).is_file()), None)
    if folder is not None:
        raise UsageError(f"--out {target}: lies in the model {folder}, which is never changed: choose another place")


def _print_file(target: Path, content: bytes, file: CalibrationFile, as_json: bool) -> None:
    import hashlib

    from vidtag_cli.strict_values import encode

    sha256 = hashlib.sha256(content).hexdigest()
    if as_json:
        output_json(
            {"schema": "vidtag-calibrate/1"} | path_fields(target) | {"sha256": sha256, "calibration": encode(file)}
        )
        return
    frames = sum(clip.frames for clip in file.clips)
    output_lines([
        f"calibration of {printable(file.model.name)} from {len(file.clips)} clips, {frames} frames; seed {file.seed}",
        printable(file.calibration.statement),
        f"Written: {printable(str(target))}, SHA-256 {sha256}",
    ])  # fmt: skip
