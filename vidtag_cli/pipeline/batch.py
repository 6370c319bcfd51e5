"""Many inputs: their names, where each one's outputs go, and failures as values so that one bad video ends nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from vidtag_cli.errors import EvidenceError, InputError, UsageError, VidtagError
from vidtag_cli.exhaustion import explain_exhaustion
from vidtag_cli.pipeline.evidence import sha256_of_evidence
from vidtag_cli.pipeline.locate import LocateOptions
from vidtag_cli.pipeline.run import OutputRequest, RunResult, check_format_options, check_request, run_input
from vidtag_cli.pipeline.session import Session
from vidtag_cli.writers.formats import FORMATS, STDOUT
from vidtag_cli.writers.geojson import Shape


def named_inputs(videos: Sequence[Path], files_from: Path | None, null_separated: bool) -> list[Path]:
    """Return the videos named on the command line and in a list; raises UsageError when there is none."""
    inputs = [*videos, *(_read_list(files_from, null_separated) if files_from is not None else [])]
    if not inputs:
        raise UsageError("no video is named: give one or more files, or --files-from LIST")
    if any(str(path) == STDOUT for path in inputs):
        raise UsageError("a video cannot come from stdin: its index may stand at the end; save it to a file first")
    return inputs


def _read_list(path: Path, null_separated: bool) -> list[Path]:
    try:
        raw = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if b"\0" in raw and not null_separated:
        raise UsageError(f"--files-from {path}: the names in it end with NUL: add -0")
    names = raw.split(b"\0") if null_separated else raw.splitlines()
    return [Path(os.fsdecode(name)) for name in names if name]


def requests_for(
    inputs: Sequence[Path],
    outs: Sequence[Path],
    out_dir: Path | None,
    format_names: str | None,
    report: Path | None,
    wants_report: bool,
    force: bool,
    geojson_shape: Shape,
    csv_abstained: bool = False,
) -> list[tuple[Path, OutputRequest]]:
    """Return each input with what to write for it; raises UsageError for options that do not go together.

    The outputs of a single input are checked at once, before a model is loaded.
    """
    if outs and out_dir is not None:
        raise UsageError("--out and --out-dir contradict each other: give one of them")
    if outs and len(inputs) > 1:
        raise UsageError(f"--out names the outputs of one video and {len(inputs)} are given: use --out-dir")
    if out_dir is not None:
        if report is not None:
            raise UsageError("--report names one file: with --out-dir each video's report is written beside its track")
        formats = _format_list(format_names or "gpx")
        check_format_options(formats, geojson_shape, csv_abstained)
        common = OutputRequest(force=force, geojson_shape=geojson_shape, csv_abstained=csv_abstained)
        requests = [(path, _request_in_folder(path, out_dir, formats, wants_report, common)) for path in inputs]
        _check_no_target_is_shared(requests)
        return requests
    if report is not None and len(inputs) > 1:
        raise UsageError(f"--report names the record of one video and {len(inputs)} are given: use --out-dir")
    if not outs and format_names is not None:
        raise UsageError("--format says how to write: give --out FILE, --out - or --out-dir too")
    to_files = [path for path in outs if str(path) != STDOUT]
    if report is None and wants_report and to_files:
        report = to_files[0].with_suffix(".report.json")
    request = OutputRequest(tuple(outs), format_names, report, force, geojson_shape, csv_abstained=csv_abstained)
    for path in inputs:
        check_request(path, request)
    return [(path, request) for path in inputs]


def _check_no_target_is_shared(requests: Sequence[tuple[Path, OutputRequest]]) -> None:
    """Raise UsageError when two inputs have one name and one content, and so one set of outputs."""
    input_of: dict[Path, Path] = {}
    for path, request in requests:
        for output in request.tracks[:1]:
            if output in input_of:
                raise UsageError(
                    f"{input_of[output]} and {path}: the same name and content, so both would be written to {output}: "
                    "name one of them only, or locate each with an --out-dir of its own"
                )
            input_of[output] = path


def _format_list(names: str) -> list[str]:
    formats = [name.strip().lower() for name in names.split(",") if name.strip()]
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise UsageError(f"--format {names}: choose from {', '.join(FORMATS)}")
    return list(dict.fromkeys(formats))


def _request_in_folder(
    path: Path, folder: Path, formats: Sequence[str], wants_report: bool, common: OutputRequest
) -> OutputRequest:
    """Return the outputs of one of many videos: named by stem and content, so that two ``clip.mp4`` do not collide.

    An input that cannot be read, or is still being written, gets no outputs; it fails with a message of its own when
    its turn comes.
    """
    try:
        sha256 = sha256_of_evidence(path)
    except (InputError, EvidenceError):
        return OutputRequest(named_after_sha256="")
    name = f"{path.stem}.{sha256[:8]}"
    tracks = tuple(folder / f"{name}{FORMATS[kind].suffixes[0]}" for kind in formats)
    report = folder / f"{name}.report.json" if wants_report else None
    return replace(common, tracks=tracks, report=report, named_after_sha256=sha256)


def locate_or_error(
    path: Path,
    session: Session,
    options: LocateOptions,
    request: OutputRequest,
    start_time: datetime | None,
    expected_sha256: str | None,
    progress: Callable[[float, float | None], None] | None,
) -> RunResult | VidtagError:
    """Return the result of one input, or the error that ended it: a bug met in one video costs no other its result."""
    try:
        return run_input(
            path, session, options, request, start_time=start_time, expected_sha256=expected_sha256, progress=progress
        )
    except VidtagError as error:
        return explain_exhaustion(error) or error
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001  as __main__ would say it, and the next input has its turn
        exhausted = explain_exhaustion(error)
        if exhausted is not None:
            return exhausted
        bug = VidtagError(
            f"unexpected {' '.join(f'{type(error).__name__}: {error}'.split())}; this is a bug: "
            "run this video alone with --debug for the traceback"
        )
        bug.__cause__ = error
        return bug
