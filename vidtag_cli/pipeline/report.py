"""The evidence record of a run: what was read, what was done with which model, what came out (docs/formats.md 3.3)."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from typing import Any

from vidtag_cli import __version__
from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.pipeline.calibration import NOT_MEASURED_THERE
from vidtag_cli.pipeline.evidence import EvidenceState
from vidtag_cli.pipeline.locate import LocateOptions, LocateResult
from vidtag_cli.pipeline.repeats import CELLS, KEPT_PICTURES, SAME_PICTURE
from vidtag_cli.pipeline.session import Session
from vidtag_cli.pipeline.uncertainty import BLANK_SPREAD_LEVELS
from vidtag_cli.track import Track, TrackPoint, reason_kind, to_millisecond
from vidtag_cli.video.cuts import MIN_DIFFERENCE, MIN_PROMINENCE, MIN_SPREAD_LEVELS
from vidtag_cli.video.decode_command import THUMBNAIL_WH
from vidtag_cli.video.decode_report import DecodeReport
from vidtag_cli.video.ffmpeg import find_ffmpeg
from vidtag_cli.writers.answer import answer_record
from vidtag_cli.writers.formats import WrittenFile
from vidtag_cli.writers.names import argument_fields, path_fields
from vidtag_cli.writers.report import REPORT_SCHEMA, canonical_json
from vidtag_cli.writers.values import instant_text

_PACKAGES = ("numpy", "onnxruntime", "onnxruntime-gpu", "faiss-cpu", "av", "lxml", "typer", "rich",
             "threadpoolctl")  # fmt: skip


def build_report(
    *,
    run_id: str,
    started: datetime,
    arguments: list[str],
    session: Session,
    options: LocateOptions,
    result: LocateResult,
    before: EvidenceState,
    after: EvidenceState,
    outputs: list[WrittenFile],
    exit_code: int,
) -> dict[str, Any]:
    """Return the record of one located input as a JSON object."""
    track = result.track
    return {
        "schema": REPORT_SCHEMA,
        "run": {
            "id": run_id,
            "started_utc": instant_text(started),
            "finished_utc": instant_text(datetime.now(UTC)),
            "exit_code": exit_code,
            **argument_fields(arguments),
        },
        "tool": tool_record(),
        "method": method_record(session, options, result),
        "input": input_record(result, before, after),
        "time_basis": {
            "source": track.time_basis.source,
            "start_time_utc": _instant(track.time_basis.start_time_utc),
            "note": track.time_basis.note,
        },
        "answer": answer_record(track),
        "estimates": [point_record(track, point) for point in track.points],
        "summary": summary_record(track),
        "comparison_with_embedded_location": embedded_comparison(result),
        "uncertainty_statement": uncertainty_record(session),
        "limitations": list(track.limitations),
        "outputs": [asdict(output) | path_fields(output.path) for output in outputs],
    }


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else instant_text(to_millisecond(instant))


def uncertainty_record(session: Session) -> dict[str, Any]:
    """Return what radii mean and what was measured of them, which holds for the model's own gallery alone."""
    calibration = session.bundle.calibration
    if session.searches_own_gallery or not calibration.is_measured:
        return {"radius_meaning": calibration.statement, "coverage_measured": calibration.measured}
    return {"radius_meaning": NOT_MEASURED_THERE, "coverage_measured": {}}


def tool_record() -> dict[str, Any]:
    """Return the program, its libraries and the machine's kind; no user, host or path."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "name": "vidtag",
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "ffmpeg": {"version": find_ffmpeg().version},
    }


def method_record(session: Session, options: LocateOptions, result: LocateResult) -> dict[str, Any]:
    """Return model, gallery, engines and the effective value of every parameter."""
    bundle, gallery = session.bundle, session.gallery
    parameters = {
        **{name: getattr(options, name) for name in options.__dataclass_fields__},
        "sampling_fps": result.sampling_fps,
        "cuts": cut_record(options),
        "blank_spread_levels": BLANK_SPREAD_LEVELS,
        "repeats": repeats_record(),
        "window": asdict(bundle.window),
        "preprocess": asdict(bundle.preprocess),
        "rule": asdict(session.rule),
    }
    return {
        "model": {"name": bundle.name, "sha256": bundle.sha256, "version": bundle.contract.version,
                  "domain": bundle.domain, "licences": list(bundle.contract.training.licences)},
        "gallery": {"source": gallery.contract.origin.source, "points": gallery.points,
                    "files": {name: record.sha256 for name, record in gallery.contract.files.items()}},
        "calibration": calibration_record(session),
        "engines": {name: engine.describe() for name, engine in session.engines.items()},
        "thread_pools": [asdict(pool) for pool in session.thread_pools],
        "parameters": parameters,
        "parameters_sha256": hashlib.sha256(canonical_json(parameters)).hexdigest(),
        "embedded_location_used": False,
        "random_seed": None,
        "smoothing": result.track.smoothing,
    }  # fmt: skip


def calibration_record(session: Session) -> dict[str, Any] | None:
    """Return the file in place of the model's own calibration, with the clips it rests on; None without one."""
    loaded = session.calibration
    if loaded is None:
        return None
    return path_fields(loaded.path, "file") | {
        "sha256": loaded.sha256,
        "schema": loaded.file.schema,
        "created_utc": loaded.file.created_utc,
        "created_with": loaded.file.created_with,
        "seed": loaded.file.seed,
        "split": loaded.file.split,
        "clips": [asdict(clip) for clip in loaded.file.clips],
    }


def cut_record(options: LocateOptions) -> dict[str, Any] | None:
    """Return how cuts were found, or None where they were not looked for."""
    if options.shots == "whole":
        return None
    return {"min_difference": MIN_DIFFERENCE, "min_prominence": MIN_PROMINENCE, "min_spread_levels": MIN_SPREAD_LEVELS,
            "thumbnail_wh": list(THUMBNAIL_WH)}  # fmt: skip


def repeats_record() -> dict[str, Any]:
    """Return how frames that repeat an earlier picture were told."""
    return {"same_picture": SAME_PICTURE, "cells": CELLS, "kept_pictures": KEPT_PICTURES}


def input_record(result: LocateResult, before: EvidenceState, after: EvidenceState) -> dict[str, Any]:
    """Return the input's hashes, inode, container and what the file claims about itself."""
    video = result.video
    stats = {"stat_before": before, "stat_after": after}
    return {
        **path_fields(video.path.name, "name"),
        "size_bytes": before.size_bytes,
        "sha256_before": before.sha256,
        "sha256_after": after.sha256,
        "unchanged": before.sha256 == after.sha256,
        **{
            name: {key: getattr(state, key) for key in ("mtime_ns", "atime_ns", "ctime_ns", "inode", "device")}
            for name, state in stats.items()
        },
        "container": {
            "format": video.container_format, "duration_s": video.duration_s, "start_time_s": video.start_time_s,
            "codec": video.codec, "pixel_format": video.pixel_format, "width_px": video.width_px,
            "height_px": video.height_px, "rotation_deg": video.rotation_deg,
            "is_mirrored": video.orientation.is_mirrored,
            "sample_aspect_ratio": None if video.sample_aspect_ratio is None else str(video.sample_aspect_ratio),
            "stream_index": video.stream_index,
            "other_video_streams": [asdict(stream) for stream in video.other_streams],
            "average_frame_rate_fps": video.average_frame_rate_fps, "notes": list(video.notes),
        },
        "decode": {"frames_used": len(result.track.points), "errors": list(result.decode_errors),
                   **completeness_record(result.decoded)},
        "embedded_metadata": dict(video.tags),
        "embedded_location": None if video.embedded_location is None else asdict(video.embedded_location),
    }  # fmt: skip


def completeness_record(decoded: DecodeReport) -> dict[str, Any]:
    """Return whether all of the input was there: the ends of what was decoded and of what the container promises, and
    in words what is missing or damaged.
    """
    return {
        "complete": decoded.is_complete,
        "missing": list(decoded.missing),
        "media_end_s": decoded.media_end_s,
        "promised_end_s": decoded.promised_end_s,
        "notes": list(decoded.notes),
        "frames_in_file": decoded.frames_in_file,
        "frames_decoded": decoded.frames_decoded,
        "clock_restarts": decoded.restarts,
    }


def point_record(track: Track, point: TrackPoint) -> dict[str, Any]:
    """Return one estimate as a JSON object."""
    return {
        "frame": point.frame_index,
        "media_time_s": point.media_time_s,
        "time_utc": _instant(track.time_utc(point)),
        "shot": point.shot,
        "status": point.status,
        "lat": point.lat_deg,
        "lon": point.lon_deg,
        "radius50_m": point.radius50_m,
        "radius95_m": point.radius95_m,
        "confidence": point.confidence,
        "abstain_reason": point.abstain_reason,
        "repeats_frame": point.repeats_frame,
        "candidates": [
            {"lat": place.lat_deg, "lon": place.lon_deg, "score": place.score, "probability": place.probability}
            for place in point.candidates
        ],
    }


def summary_record(track: Track) -> dict[str, Any]:
    """Return how many frames were located and how many abstained, with the reasons counted by their kind."""
    reasons: dict[str, int] = {}
    for point in track.points:
        if point.abstain_reason is not None:
            kind = reason_kind(point.abstain_reason)
            reasons[kind] = reasons.get(kind, 0) + 1
    located = len(track.located())
    return {
        "frames": len(track.points),
        "ok": located,
        "abstained": len(track.points) - located,
        "abstain_reasons": reasons,
        "shots": shot_records(track),
        "track_smoothing": track.smoothing,
    }


def shot_records(track: Track) -> list[dict[str, Any]]:
    """Return the shots that have an analysed frame: the first and the last one's time, how many, how many located."""
    records = []
    for shot, members in groupby(track.points, key=lambda point: point.shot):
        points = list(members)
        located = sum(point.status == "ok" for point in points)
        records.append({
            "shot": shot, "first_media_time_s": points[0].media_time_s, "last_media_time_s": points[-1].media_time_s,
            "frames": len(points), "ok": located,
        })  # fmt: skip
    return records


def embedded_comparison(result: LocateResult) -> dict[str, Any] | None:
    """Return how far the estimates lie from the place the file itself claims; the claim took no part in the
    estimate.
    """
    claim = result.video.embedded_location
    located = result.track.located()
    if claim is None or not claim.is_place or not located:
        return None
    import numpy as np

    positions = np.array([(point.lat_deg, point.lon_deg) for point in located])
    distance_km = haversine_km(np.array([claim.lat_deg, claim.lon_deg]), positions)
    return {"points": len(located), "median_m": float(np.median(distance_km) * 1000.0)}
