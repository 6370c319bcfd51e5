"""One input from evidence to written outputs: checked first, hashed twice, tracks before the report."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vidtag_cli.errors import ALL_FRAMES_ABSTAINED, UsageError
from vidtag_cli.pipeline.evidence import EvidenceState, check_expected_hash, check_named_after, open_evidence
from vidtag_cli.pipeline.locate import LocateOptions, LocateResult, locate_video
from vidtag_cli.pipeline.output_files import all_or_none, settle_earlier_runs
from vidtag_cli.pipeline.report import build_report, completeness_record, point_record, summary_record
from vidtag_cli.pipeline.session import Session
from vidtag_cli.pipeline.time_basis import choose_time_basis
from vidtag_cli.pipeline.windows import EmbeddedFrames
from vidtag_cli.video.probe import probe_video
from vidtag_cli.writers.answer import answer_record
from vidtag_cli.writers.atomic import check_output_free, is_stream
from vidtag_cli.writers.formats import (
    FORMATS,
    STDOUT,
    FormatOptions,
    WrittenFile,
    format_of,
    render_output,
)
from vidtag_cli.writers.geojson import Shape
from vidtag_cli.writers.names import path_fields
from vidtag_cli.writers.report import render_report


@dataclass(frozen=True, slots=True)
class OutputRequest:
    """What to write for one input: track files with an explicit format or None, and the report's path or None.

    ``named_after_sha256`` is the hash of the input that the names of its outputs were made of, if they were made so.
    """

    tracks: tuple[Path, ...] = ()
    format_name: str | None = None
    report: Path | None = None
    force: bool = False
    geojson_shape: Shape = "point"
    named_after_sha256: str | None = None
    csv_abstained: bool = False


@dataclass(frozen=True, slots=True)
class RunResult:
    """One finished input: exit code 0, or 8 when every frame abstained."""

    path: Path
    exit_code: int
    located: LocateResult
    outputs: tuple[WrittenFile, ...]
    report: Path | None

    def notes(self) -> tuple[str, ...]:
        """Return what a person must be told of the outputs that they do not say themselves."""
        return tuple(
            f"{out.path} leaves out the frames that abstained ({out.frames_left_out}): the record has them, GeoJSON, "
            "and CSV with --csv-abstained"
            for out in self.outputs
            if out.frames_left_out and out.format_label == FORMATS["csv"].label
        )

    def summary(self) -> dict[str, Any]:
        """Return the machine summary of ``--json``."""
        track = self.located.track
        return {
            **path_fields(self.path),
            "exit_code": self.exit_code,
            "answer": answer_record(track),
            "summary": summary_record(track),
            "completeness": completeness_record(self.located.decoded),
            "outputs": [
                {
                    **path_fields(out.path), "format": out.format_label, "sha256": out.sha256,
                    "frames_left_out": out.frames_left_out,
                }
                for out in self.outputs
            ],
            **({"report": None} if self.report is None else path_fields(self.report, "report")),
            "estimates": [point_record(track, point) for point in track.points],
        }  # fmt: skip


def check_request(path: Path, request: OutputRequest) -> None:
    """Raise UsageError or OutputError when an output could not be written later: seconds instead of hours in.

    What a killed run left by half under these names or hidden beside them is settled first.
    """
    _check_distinct(request)
    if request.report is not None and str(request.report) == STDOUT:
        raise UsageError("--report -: the record is written to a file: give it a name")
    formats = [format_of(output, request.format_name).name for output in request.tracks]
    check_format_options(formats, request.geojson_shape, request.csv_abstained)
    outputs = [*request.tracks, *([] if request.report is None else [request.report])]
    settle_earlier_runs(outputs)
    for output in outputs:
        check_output_free(output, [path], request.force)


def check_format_options(format_names: Sequence[str], geojson_shape: Shape, csv_abstained: bool) -> None:
    """Raise UsageError for an option of a format that is not written."""
    if geojson_shape != "point" and "geojson" not in format_names:
        raise UsageError(f"--geojson-shape {geojson_shape}: no output is GeoJSON: leave the option out")
    if csv_abstained and "csv" not in format_names:
        raise UsageError("--csv-abstained: no output is CSV: leave the option out")


def _check_distinct(request: OutputRequest) -> None:
    """Raise UsageError when two outputs are one file: the later would replace the earlier, whose hash is recorded."""
    output_at: dict[str, Path] = {}
    for output in (*request.tracks, *(() if request.report is None else (request.report,))):
        is_stdout = str(output) == STDOUT
        if not is_stdout and is_stream(output):
            continue  # a pipe or a device takes one document after another
        target = STDOUT if is_stdout else os.path.realpath(output)
        if target in output_at:
            raise UsageError(f"{output_at[target]} and {output}: two outputs in one place: give each a name of its own")
        output_at[target] = output


def locate_unchanged(
    path: Path,
    session: Session,
    options: LocateOptions,
    *,
    start_time: datetime | None = None,
    expected_sha256: str | None = None,
    named_after_sha256: str | None = None,
    progress: Callable[[float, float | None], None] | None = None,
    watch: Callable[[EmbeddedFrames], None] | None = None,
) -> tuple[LocateResult, EvidenceState, EvidenceState]:
    """Return a located video, and the state of its file before and after.

    The file is opened once: what is hashed is what is decoded, whatever happens to its name. Raises EvidenceError when
    it changed meanwhile or is not the one whose hash was given.
    """
    with open_evidence(path) as evidence:
        before = evidence.read_state()
        check_expected_hash(path, before, expected_sha256)
        check_named_after(path, before, named_after_sha256)
        video = probe_video(path, evidence.descriptor, options.stream, options.limits)
        begin_s = video.start_time_s or 0.0
        located = locate_video(
            video,
            session,
            options,
            time_basis=choose_time_basis(video, start_time),
            progress=None if progress is None else lambda done_s: progress(done_s - begin_s, video.duration_s),
            watch=watch,
        )
        after = evidence.read_state()
        evidence.check_unchanged(before, after)
    return located, before, after


def run_input(
    path: Path,
    session: Session,
    options: LocateOptions,
    request: OutputRequest,
    *,
    start_time: datetime | None = None,
    expected_sha256: str | None = None,
    progress: Callable[[float, float | None], None] | None = None,
) -> RunResult:
    """Locate one video and write what was asked for; raises a VidtagError and leaves no new file when it fails.

    The outputs appear only after the input was hashed again and found unchanged; the report comes last, since it holds
    the hashes of the others: a report on the disk means that the run was complete.
    """
    started = datetime.now(UTC)
    check_request(path, request)
    located, before, after = locate_unchanged(
        path, session, options, start_time=start_time, expected_sha256=expected_sha256,
        named_after_sha256=request.named_after_sha256, progress=progress,
    )  # fmt: skip
    exit_code = 0 if located.track.located() else ALL_FRAMES_ABSTAINED
    with all_or_none(request.force) as files:
        outputs = []
        format_options = FormatOptions(request.geojson_shape, request.csv_abstained)
        for output in request.tracks:
            content, written = render_output(located.track, output, request.format_name, format_options)
            files.add(output, content)
            outputs.append(written)
        if request.report is not None:
            report = build_report(
                run_id=str(uuid.uuid4()), started=started, arguments=sys.argv[1:], session=session, options=options,
                result=located, before=before, after=after, outputs=outputs, exit_code=exit_code,
            )  # fmt: skip
            files.add(request.report, render_report(report))
    return RunResult(path, exit_code, located, tuple(outputs), request.report)
