"""``vidtag demo``: the whole machine on a clip whose true track is known."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidtag_cli.commands.console import (
    output_json,
    output_lines,
    output_table,
    printable,
    progress,
    showing_builds,
    stderr_console,
)
from vidtag_cli.commands.options import (
    JsonOption,
    NoColorOption,
    QuietOption,
    SmoothOption,
    ThreadsOption,
    check_is_local,
)
from vidtag_cli.exhaustion import check_room_to_run

if TYPE_CHECKING:
    from vidtag_cli.evaluation.scoring import ScoredTrack
    from vidtag_cli.pipeline.run import RunResult

DEMO_MODEL = "flyover"
HONEST_SENTENCE = (
    "This model knows the globe from above and nothing else: it cannot locate street, phone or drone video."
)


def demo_command(
    out_dir: Annotated[
        Path, typer.Option(readable=False, help="Folder for the outputs; made when it does not exist.")
    ] = Path("vidtag-demo"),
    force: Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")] = False,
    smooth: SmoothOption = "viterbi",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Locate the bundled clip of a flight with the bundled model, write all formats, compare with the true track."""
    from vidtag_cli.evaluation.scoring import score_track
    from vidtag_cli.evaluation.truth import read_truth
    from vidtag_cli.pipeline.locate import LocateOptions
    from vidtag_cli.pipeline.path import plausible_speed_km_h
    from vidtag_cli.pipeline.run import OutputRequest, check_request, run_input
    from vidtag_cli.pipeline.session import open_session
    from vidtag_cli.writers.atomic import make_output_folder
    from vidtag_cli.writers.formats import FORMATS

    check_is_local(out_dir)
    check_room_to_run()
    console = stderr_console(quiet, no_color)
    stem = out_dir / "flyover_demo"
    tracks = tuple(stem.with_suffix(kind.suffixes[0]) for kind in FORMATS.values())
    request = OutputRequest(tracks, report=stem.with_suffix(".report.json"), force=force)
    with as_file(files("vidtag_cli") / "data" / "demo") as folder:
        clip, truth = folder / "flyover_demo.mp4", folder / "flyover_demo.truth.csv"
        make_output_folder(out_dir)
        check_request(clip, request)
        with showing_builds(console, "opening the model", quiet) as observer:
            session = open_session(DEMO_MODEL, threads=threads, observer=observer)
        options = LocateOptions(smooth=smooth, max_speed_km_h=plausible_speed_km_h(session.rule))
        with progress(console, clip.name, quiet) as show:
            result = run_input(clip, session, options, request, progress=show)
        scored = score_track(result.located.track, read_truth(truth))
    _print_demo(result, scored, as_json)


def _print_demo(result: RunResult, scored: ScoredTrack, as_json: bool) -> None:
    import numpy as np

    from vidtag_cli.writers.answer import answer_lines

    errors_km = scored.errors_km()
    median_km = float(np.nanmedian(errors_km)) if np.isfinite(errors_km).any() else None
    if as_json:
        finite = [None if np.isnan(error) else float(error) for error in errors_km]
        output_json({**result.summary(), "error_km": finite, "median_error_km": median_km, "note": HONEST_SENTENCE})
        return
    output_lines([printable(line) for line in (*answer_lines(result.located.track), "")])
    rows = []
    for point, (true_lat, true_lon), error_km in zip(
        result.located.track.points, scored.truth_latlon_deg, errors_km, strict=True
    ):
        estimate = ("abstained",) * 3
        if point.status == "ok":
            radius_km = (point.radius95_m or 0.0) / 1000.0
            estimate = (f"{point.lat_deg:.3f}, {point.lon_deg:.3f}", f"{radius_km:.0f}", f"{error_km:.0f}")
        rows.append((f"{point.media_time_s:.1f}", f"{true_lat:.3f}, {true_lon:.3f}", *estimate))
    output_table(("TIME_S", "TRUE LAT, LON", "ESTIMATE", "RADIUS95_KM", "ERROR_KM"), rows)
    inside = sum(
        1000.0 * error <= (point.radius95_m or 0.0)
        for point, error in zip(result.located.track.points, errors_km, strict=True)
        if point.status == "ok"
    )
    located = result.located.track.located()
    median = "no error to measure" if median_km is None else f"median error {median_km:.0f} km"
    output_lines([
        "",
        f"{len(located)} of {len(rows)} frames located, {median};",
        f"the true place lies inside the 95 % circle in {inside} of these {len(located)}.",
        f"Smoothing: {result.located.track.smoothing}.",
        HONEST_SENTENCE,
        printable("Written: " + ", ".join(output.path for output in result.outputs) + f", {result.report}"),
    ])  # fmt: skip
