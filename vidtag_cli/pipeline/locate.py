"""The algorithm on one screen (SPEC 2.10): frames, features, shots, windows, two searches, an estimate a frame."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from vidtag_cli.gallery.search import search_gallery
from vidtag_cli.pipeline.calibration import NOT_MEASURED_THERE, UNCALIBRATED, UncertaintyRule
from vidtag_cli.pipeline.clock import StageClock
from vidtag_cli.pipeline.gather import gather_outputs
from vidtag_cli.pipeline.pace import is_sparse, paced
from vidtag_cli.pipeline.path import MAX_SPEED_KM_H, path_rule, smooth_track
from vidtag_cli.pipeline.prefetch import run_ahead
from vidtag_cli.pipeline.session import Session
from vidtag_cli.pipeline.uncertainty import (
    QUERIES_AT_ONCE,
    SearchedPoints,
    estimate_points,
    search_for_path,
    window_disagreement_km,
)
from vidtag_cli.pipeline.windows import EncodedBatch, Outputs, blend_windows, run_strands, split_into_shots
from vidtag_cli.track import TimeBasis, Track, TrackPoint
from vidtag_cli.video.batches import FrameBatch, TakenFrame, frame_batches
from vidtag_cli.video.decode import VideoDecoder
from vidtag_cli.video.decode_command import DecodeDevice, DecodeMode
from vidtag_cli.video.probe import VideoInfo, probe_video

ONE_SHOT = "Cuts were not looked for: the whole video was taken for one shot."

ONLY_THESE_PLACES = (
    "Only {count:,} places were searched ({source}): a camera that was elsewhere is given one of them all the same."
)

SPARSE_FRAMES = (
    "The frames lie farther apart than the {step_s:g} s for which this model was made and measured: how often its "
    "circles hold the true place then is unknown."
)

LIMITATIONS = (
    "Estimate from image content; not a GNSS fix; not proof of place or of authenticity.",
    "An investigative lead: a person must confirm it.",
)


@dataclass(frozen=True, slots=True)
class LocateOptions:
    """What a run may vary. ``sampling_fps`` None takes the model's own density; ``all_frames`` analyses every frame.

    ``shots`` split treats each shot of an edited video by itself; whole takes the video for one shot. ``smooth``
    viterbi takes the path through the searched places that a camera of at most ``max_speed_km_h`` could take.
    """

    sampling_fps: float | None = None
    all_frames: bool = False
    batch_frames: int = 32
    top_k: int = 5
    decoder_threads: int = 1
    decode_mode: DecodeMode = "exact"
    decode_device: DecodeDevice = "cpu"
    shots: Literal["split", "whole"] = "split"
    smooth: Literal["none", "viterbi"] = "none"
    max_speed_km_h: float = MAX_SPEED_KM_H


@dataclass(frozen=True, slots=True)
class LocateResult:
    """A located video: the track, what was read, what went wrong on the way, where the time went."""

    track: Track
    video: VideoInfo
    decode_errors: tuple[str, ...]
    sampling_fps: float | None
    stage_seconds: dict[str, float] = field(default_factory=dict)


def locate_video(
    path: Path,
    session: Session,
    options: LocateOptions,
    *,
    time_basis: TimeBasis | None = None,
    progress: Callable[[float], None] | None = None,
) -> LocateResult:
    """Return the track of a local video; raises InputError or VideoError when it cannot be read or decoded.

    ``progress`` is called with the media time in seconds that has been analysed. Memory does not grow with the length
    of the video but for the estimates themselves, and 1.5 KB a frame for a path.
    """
    clock = StageClock()
    bundle = session.bundle
    video = probe_video(path)
    sampling_fps = None if options.all_frames else options.sampling_fps or bundle.sampling.frames_per_second
    size = (bundle.preprocess.frame_size_px, bundle.preprocess.frame_size_px)
    taken: list[TakenFrame] = []
    points: list[TrackPoint] = []
    searched: list[SearchedPoints] = []
    with VideoDecoder(
        path, video, size, sampling_fps, resize=bundle.preprocess.resize, threads=options.decoder_threads,
        mode=options.decode_mode, device=options.decode_device, block_frames=options.batch_frames,
        find_cuts=options.shots == "split",
    ) as decoder:  # fmt: skip
        batches = _batch_frames(decoder, options.batch_frames, taken, clock)
        with run_ahead(_encode_batches(session, batches, clock)) as encoded:
            for outputs in gather_outputs(embed_encoded(session, encoded, clock), QUERIES_AT_ONCE):
                with clock.time("search"):
                    begin = len(points)
                    points += estimate_points(session, outputs, taken[begin:], options.top_k)
                    if options.smooth == "viterbi":
                        searched.append(search_for_path(session, outputs, taken[begin : len(points)]))
                if progress is not None:
                    progress(points[-1].media_time_s)
    are_frames_sparse = is_sparse([point.media_time_s for point in points], session.step_s)
    track = Track(
        path.name, tuple(points), bundle.name, time_basis or TimeBasis(), smoothing="none",
        limitations=limitations_of(session, options, are_frames_sparse),
    )  # fmt: skip
    if options.smooth == "viterbi":
        rule = path_rule(session.rule, options.max_speed_km_h, session.step_s)
        track = smooth_track(track, SearchedPoints.join(searched), session.gallery.latlon_deg, rule, options.top_k)
    return LocateResult(track, video, decoder.errors, sampling_fps, clock.seconds)


def _batch_frames(
    decoder: VideoDecoder, batch_frames: int, taken: list[TakenFrame], clock: StageClock
) -> Iterator[FrameBatch]:
    """Yield consecutive frames in batches and note which were taken."""
    batches = frame_batches(decoder, batch_frames)
    while True:
        with clock.time("decode"):
            batch = next(batches, None)
        if batch is None:
            return
        taken.extend(batch.taken())
        yield batch


def embed_frames(session: Session, batches: Iterable[FrameBatch], clock: StageClock | None = None) -> Iterator[Outputs]:
    """Yield the outputs of :func:`run_windows` for all frames of ``batches``, in order.

    A model with temporal modules sees overlapping windows of each shot, never across a cut; one of kind ``geoclip``
    sees each frame by itself.
    """
    clock = clock or StageClock()
    return embed_encoded(session, _encode_batches(session, batches, clock), clock)


def embed_encoded(session: Session, encoded: Iterable[EncodedBatch], clock: StageClock) -> Iterator[Outputs]:
    """Yield what :func:`embed_frames` yields, from what the model's first graph has made of the frames.

    Where frames are closer than the model's own, a window holds several interleaved clips of the model's pace.
    """
    if session.bundle.kind == "geoclip":
        yield from (single_frames(batch.features) for batch in encoded)
        return
    window = session.bundle.window
    strands, encoded = paced(encoded, session.step_s)

    def run(windows: np.ndarray) -> Outputs:
        return run_strands(windows, strands, lambda clips: run_windows(session, clips, clock))

    for features in split_into_shots(encoded):
        yield from blend_windows(features, strands * window.frames, strands * window.overlap_frames, run)


def _encode_batches(
    session: Session, batches: Iterable[FrameBatch], clock: StageClock
) -> Generator[EncodedBatch, None, None]:
    for batch in batches:
        with clock.time("encode"):
            features = session.encode_frames(batch.frames_rgb)
        yield EncodedBatch(features, batch.shot, batch.media_time_s)


def single_frames(embedding: np.ndarray) -> Outputs:
    """Return the outputs of frames whose embeddings (n, E) are final: no neighbour confirms or contradicts them."""
    nothing = np.zeros(len(embedding), np.float32)
    return {
        "first_embedding": embedding,
        "refined_embedding": embedding,
        "domain_distance": nothing,
        "disagreement_km": nothing,
    }


def run_windows(session: Session, features: np.ndarray, clock: StageClock | None = None) -> Outputs:
    """Return the embeddings of both searches (W, T, E), and how far from the model's domain each window is and how far
    its frames are from each other (W, T), of the features (W, T, D) of windows.

    TempGeo gives frame embeddings; the first search turns them into places; GeoRefiner looks at the places and the
    frames again. The domain distance is the window's median, one number for all its frames: a clip is of one kind.
    """
    clock = clock or StageClock()
    windows, frames, _ = features.shape
    with clock.time("tempgeo"):
        attended = session.run("tempgeo", frame_features=features)
    with clock.time("search"):
        _, best = search_gallery(session.gallery, np.concatenate(attended["frame_embedding"]), 1)
    best = best.reshape(windows, frames)
    places = np.asarray(session.gallery.embeddings[best], dtype=np.float32)
    with clock.time("refine"):
        refined = session.run("georefiner", refined_features=attended["refined_features"], location_embedding=places)[
            "refined_embedding"
        ]
    distance = np.zeros((windows, frames), np.float32)
    if session.domain is not None:
        each = session.domain.distance(np.concatenate(features)).reshape(windows, frames)
        distance[:] = np.median(each, axis=1, keepdims=True)
    return {
        "first_embedding": attended["frame_embedding"],
        "refined_embedding": refined,
        "domain_distance": distance,
        "disagreement_km": np.stack([window_disagreement_km(session.gallery.latlon_deg[row]) for row in best]),
    }


def limitations_of(session: Session, options: LocateOptions, are_frames_sparse: bool = False) -> tuple[str, ...]:
    """Return what a reader of a track must know: the model's domain, where was searched, what its numbers do not mean,
    and the rest.
    """
    gallery = session.gallery
    places = ONLY_THESE_PLACES.format(count=gallery.points, source=gallery.contract.origin.source)
    is_measured = isinstance(session.rule, UncertaintyRule)
    said = {
        session.bundle.domain: True,
        places: not session.searches_own_gallery,
        NOT_MEASURED_THERE: is_measured and not session.searches_own_gallery,
        UNCALIBRATED: not is_measured,
        SPARSE_FRAMES.format(step_s=session.step_s): is_measured and are_frames_sparse,
        ONE_SHOT: options.shots == "whole",
    }
    return (*(text for text, applies in said.items() if applies), *LIMITATIONS)
