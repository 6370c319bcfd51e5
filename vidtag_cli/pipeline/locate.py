"""The algorithm on one screen (docs/method.md 2.10): frames, features, shots, windows, two searches, an estimate a
frame.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from vidtag_cli.errors import VideoError
from vidtag_cli.gallery.search import search_gallery
from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.pipeline.answer import with_answer
from vidtag_cli.pipeline.calibration import UncertaintyRule
from vidtag_cli.pipeline.gate import changed_views, neighbour_cosine
from vidtag_cli.pipeline.limitations import limitations_of
from vidtag_cli.pipeline.path import MAX_SPEED_KM_H, SearchedPoints, path_rule, search_for_path, smooth_track
from vidtag_cli.pipeline.prefetch import run_ahead
from vidtag_cli.pipeline.repeats import hold_repeats, run_distinct
from vidtag_cli.pipeline.session import Session
from vidtag_cli.pipeline.time_basis import at_first_point
from vidtag_cli.pipeline.uncertainty import estimate_points, window_disagreement_km
from vidtag_cli.pipeline.windows import (
    EmbeddedFrames,
    EncodedFrames,
    Outputs,
    blend_windows,
    gather_frames,
    is_sparse,
    paced,
    run_interleaved,
    split_into_shots,
)
from vidtag_cli.track import TimeBasis, Track, TrackPoint
from vidtag_cli.video.batches import FrameBatch, frame_batches
from vidtag_cli.video.borders import NO_BORDERS, BorderReport, Borders, BordersOption, settle_borders
from vidtag_cli.video.containers import STILL_FORMATS
from vidtag_cli.video.decode import VideoDecoder
from vidtag_cli.video.decode_command import DecodeDevice, DecodeMode
from vidtag_cli.video.decode_report import DecodeReport
from vidtag_cli.video.info import VideoInfo
from vidtag_cli.video.limits import DEFAULT_LIMITS, DecodeLimits

FRAMES_SEARCHED_AT_ONCE = 64

ONE_PICTURE_FPS = 1e-3
"""Of a photograph: what phones append to it, a gain map or a second view, is no second frame."""


@dataclass(frozen=True, slots=True)
class LocateOptions:
    """What a run may vary. ``sampling_fps`` None takes the model's own density; ``all_frames`` analyses every frame.

    ``shots`` split treats each shot of an edited video by itself; whole takes the video for one shot. ``smooth``
    viterbi takes the path through the searched places that a camera of at most ``max_speed_km_h`` could take.
    ``strict`` makes an input that is incomplete or damaged an error. ``fast`` leaves out what the model says of changed
    copies of the pictures, by which it is asked whether it agrees with itself. ``stream`` is the number of the video
    stream among all streams of the file, None for the one that ``choose_stream`` takes. ``borders`` around the moving
    picture are found and cut away, kept, or cut at the widths in pixels that are given.
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
    strict: bool = False
    fast: bool = False
    stream: int | None = None
    max_pixels: int = DEFAULT_LIMITS.max_pixels
    max_frame_rate_fps: float = DEFAULT_LIMITS.max_frame_rate_fps
    stall_timeout_s: float = DEFAULT_LIMITS.stall_timeout_s
    borders: BordersOption = "cut"

    @property
    def limits(self) -> DecodeLimits:
        """What one video may cost."""
        return DecodeLimits(self.max_pixels, self.max_frame_rate_fps, self.stall_timeout_s)


@dataclass(frozen=True, slots=True)
class LocateResult:
    """A located video: the track, what was read and whether all of it was there, what the decoder complained of, and
    which borders were cut away.
    """

    track: Track
    video: VideoInfo
    decoded: DecodeReport
    decode_errors: tuple[str, ...]
    sampling_fps: float | None
    borders: BorderReport = BorderReport()


def locate_video(
    video: VideoInfo,
    session: Session,
    options: LocateOptions,
    *,
    time_basis: TimeBasis | None = None,
    progress: Callable[[float], None] | None = None,
    watch: Callable[[EmbeddedFrames], None] | None = None,
) -> LocateResult:
    """Return the track of a probed video; raises VideoError when it cannot be decoded, or not all of it as asked.

    ``progress`` is called with the media time in seconds that has been analysed, ``watch`` with what the model made of
    the frames. Memory does not grow with the length of the video but for the estimates themselves, and 1.5 KB a frame
    for a path.
    """
    points: list[TrackPoint] = []
    searched: list[SearchedPoints] = []
    borders = settle_borders(video, options.borders, options.limits)
    with open_decoder(video, session, options, borders.borders) as decoder:
        encoded_ahead = run_ahead(
            encode_batches(session, hold_repeats(frame_batches(decoder, options.batch_frames)), fast=options.fast),
            interrupt=decoder.close,
        )
        with encoded_ahead as encoded:
            for embedded in gather_frames(embed_frames(session, encoded), FRAMES_SEARCHED_AT_ONCE):
                points += estimate_points(session, embedded, options.top_k)
                if options.smooth == "viterbi":
                    searched.append(search_for_path(session, embedded))
                if watch is not None:
                    watch(embedded)
                if progress is not None:
                    progress(points[-1].media_time_s)
    if options.strict and not decoder.report.is_complete:
        raise VideoError(
            f"{video.path}: incomplete or damaged ({'; '.join(decoder.report.missing)}): nothing was written; leave "
            "--strict out to locate what is there"
        )
    limitations = limitations_of(
        session,
        is_one_shot=options.shots == "whole",
        are_frames_sparse=is_sparse([point.media_time_s for point in points], session.step_s),
        is_fast=options.fast,
        missing=decoder.report.missing,
    )
    time_basis = at_first_point(time_basis or TimeBasis(), video, points[0].media_time_s if points else 0.0)
    track = Track(video.path.name, tuple(points), session.bundle.name, time_basis, limitations=limitations)
    if options.smooth == "viterbi":
        rule = path_rule(session.rule, options.max_speed_km_h, session.step_s)
        track = smooth_track(track, SearchedPoints.join(searched), session.gallery.latlon_deg, rule, options.top_k)
    track = with_answer(track, session.step_s, session.rule.place_radius_km)
    return LocateResult(track, video, decoder.report, decoder.errors, sampling_rate_fps(session, options), borders)


def sampling_rate_fps(session: Session, options: LocateOptions) -> float | None:
    """Return how many frames per second of video are analysed, None for all of them."""
    return None if options.all_frames else options.sampling_fps or session.bundle.sampling.frames_per_second


def open_decoder(
    video: VideoInfo, session: Session, options: LocateOptions, borders: Borders = NO_BORDERS
) -> VideoDecoder:
    """Return the decoder of a video that gives frames as the model wants them."""
    preprocess = session.bundle.preprocess
    rate_fps = ONE_PICTURE_FPS if video.container_format in STILL_FORMATS else sampling_rate_fps(session, options)
    return VideoDecoder(
        video.path, video, (preprocess.frame_size_px, preprocess.frame_size_px), rate_fps,
        resize=preprocess.resize, threads=options.decoder_threads, mode=options.decode_mode,
        device=options.decode_device, block_frames=options.batch_frames, find_cuts=options.shots == "split",
        limits=options.limits, borders=borders,
    )  # fmt: skip


def encode_batches(
    session: Session, batches: Iterable[FrameBatch], *, fast: bool = False
) -> Generator[EncodedFrames, None, None]:
    """Yield what the model's first graph, which sees every frame by itself, makes of batches of frames; beside it, as
    further columns, what the gate says of them, and unless ``fast`` what the graph makes of harmlessly changed copies.
    """
    for batch in batches:
        features = session.encode_frames(batch.frames_rgb)
        columns = [features]
        if session.gate is not None:
            columns.append(session.gate.kind_logits(features, batch.frames_rgb))
        if not fast:
            views = changed_views(session.bundle.kind, session.gate is not None, batch.frames_rgb)
            columns += [session.encode_frames(view) for view in views]
        yield EncodedFrames(batch.facts, np.concatenate(columns, axis=1))


def embed_frames(session: Session, encoded: Iterable[EncodedFrames]) -> Iterator[EmbeddedFrames]:
    """Yield all frames in order with the outputs of :func:`run_windows`.

    A model with temporal modules sees overlapping windows of each shot, never across a cut; one of kind ``geoclip``
    sees each frame by itself. Where frames are closer than the model's own, a window holds several interleaved clips
    of the model's pace.
    """
    if session.bundle.kind == "geoclip":
        yield from (EmbeddedFrames(batch.facts, single_frames(session, batch.features)) for batch in encoded)
        return
    window = session.bundle.window
    clips, encoded = paced(encoded, session.step_s)

    def run(windows: np.ndarray) -> Outputs:
        return run_interleaved(windows, clips, lambda clip: run_distinct(clip, partial(run_windows, session)))

    for shot in split_into_shots(encoded):
        yield from blend_windows(shot, clips * window.frames, clips * window.overlap_frames, run)


def single_frames(session: Session, columns: np.ndarray) -> Outputs:
    """Return the outputs of frames whose embeddings are final: no neighbour confirms or contradicts them.

    ``columns`` (n, E) are the embeddings, (n, 3 E) where those of changed copies follow them: ``moved_km`` (n,) is then
    how far the farthest place of a copy lies from that of the frame. A place that moves is no place.
    """
    embedding, *copies = np.split(columns, columns.shape[1] // session.bundle.embedding_dim, axis=1)
    nothing = np.zeros(len(embedding), np.float32)
    outputs = {
        "first_embedding": embedding,
        "refined_embedding": embedding,
        "domain_distance": nothing,
        "disagreement_km": nothing,
    }
    if copies:
        _, best = search_gallery(session.own_gallery, np.concatenate([embedding, *copies]), 1)
        own, *moved = np.split(session.own_gallery.latlon_deg[best[:, 0]], 1 + len(copies))
        farthest_km = np.max([haversine_km(own, places) for places in moved], axis=0)
        outputs["moved_km"] = farthest_km.astype(np.float32)
    return outputs


def run_windows(session: Session, columns: np.ndarray) -> Outputs:
    """Return what the model makes of windows, whose ``columns`` (W, T, ...) float32 are those of ``encode_batches``:
    features (D), and with a gate the logits of the kinds (K) and, unless left out, the features of the mirror images.

    ``first_embedding`` and ``refined_embedding`` (W, T, E) are those of the two searches, ``disagreement_km`` (W, T)
    how far the places of the other frames are. TempGeo gives frame embeddings; the first search turns them into places;
    GeoRefiner looks at the places and the frames again. That search is always among the model's own places: whether
    frames agree does not depend on where else one looks. ``domain_distance`` (W, T) is the window's median, and so are
    ``kind_logits`` (W, T, K) and ``window_signs`` (W, T, 4) the same for all frames: a clip is of one kind.
    """
    windows, frames, _ = columns.shape
    width = session.bundle.feature_dim
    features = np.ascontiguousarray(columns[..., :width])
    attended = session.run("tempgeo", frame_features=features)
    own = session.own_gallery
    scores, best = search_gallery(own, np.concatenate(attended["frame_embedding"]), 1)
    best = best.reshape(windows, frames)
    places = np.asarray(own.embeddings[best], dtype=np.float32)
    refined = session.run("georefiner", refined_features=attended["refined_features"], location_embedding=places)
    distance = np.zeros((windows, frames), np.float32)
    if session.domain is not None:
        of_frames = session.domain.distance(np.concatenate(features)).reshape(windows, frames)
        distance[:] = np.median(of_frames, axis=1, keepdims=True)
    outputs = {
        "first_embedding": attended["frame_embedding"],
        "refined_embedding": refined["refined_embedding"],
        "domain_distance": distance,
        "disagreement_km": np.stack([window_disagreement_km(own.latlon_deg[row]) for row in best]),
    }
    if session.gate is not None:
        kinds = len(session.gate.limits.kinds)
        logits, mirrored = columns[..., width : width + kinds], columns[..., width + kinds :]
        outputs["kind_logits"] = logits.mean(axis=1, keepdims=True).repeat(frames, axis=1)
        signs = window_signs(session, scores.reshape(windows, frames), outputs, mirrored)
        outputs["window_signs"] = signs[:, None].repeat(frames, axis=1)
    return outputs


def window_signs(session: Session, scores: np.ndarray, outputs: Outputs, mirrored: np.ndarray) -> np.ndarray:
    """Return (W, 4) float32 what ``WINDOW_SIGNS`` names of windows: from the cosines (W, T) of the first search, its
    embeddings, how far the frames' places lie apart, and the features (W, T, D) of the mirror images, whose D may be 0.
    """
    margin = np.full(len(scores), np.inf)
    if mirrored.shape[-1]:
        attended = session.run("tempgeo", frame_features=np.ascontiguousarray(mirrored))
        of_mirrored, _ = search_gallery(session.own_gallery, np.concatenate(attended["frame_embedding"]), 1)
        margin = (scores - of_mirrored.reshape(scores.shape)).mean(axis=1)
    limit_km = session.rule.max_disagreement_km if isinstance(session.rule, UncertaintyRule) else np.inf
    agreeing = (outputs["disagreement_km"] <= limit_km).mean(axis=1)
    signs = (margin, agreeing, scores.mean(axis=1), neighbour_cosine(outputs["first_embedding"]))
    return np.stack(signs, axis=1).astype(np.float32)
