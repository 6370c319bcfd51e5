"""Films of flights located by the runtime's own pipeline, without video files: every clip is a shot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from vidtag_cli.pipeline.locate import FRAMES_SEARCHED_AT_ONCE, embed_frames, encode_batches, run_windows
from vidtag_cli.pipeline.path import SearchedPoints, path_rule, plausible_speed_km_h, search_for_path, smooth_track
from vidtag_cli.pipeline.repeats import hold_repeats
from vidtag_cli.pipeline.session import Session
from vidtag_cli.pipeline.uncertainty import estimate_points
from vidtag_cli.pipeline.windows import (
    WINDOWS_AT_ONCE,
    EmbeddedFrames,
    EncodedFrames,
    Outputs,
    gather_frames,
    join_frames,
)
from vidtag_cli.track import Track, TrackPoint
from vidtag_cli.video.batches import FrameBatch, FrameFacts, spread_levels

TOP_K = 5


def locate_film(session: Session, frames_rgb: np.ndarray, step_s: float | None = None) -> tuple[Track, Track]:
    """Return the tracks, frame by frame and on a path, of clips (B, T, S, S, 3) uint8 one after another, each a shot,
    with frames ``step_s`` apart, by default the model's own pace.
    """
    return tracks_of(session, _embedded(session, frames_rgb, step_s))


def tracks_of(session: Session, parts: Iterable[EmbeddedFrames]) -> tuple[Track, Track]:
    """Return the tracks, frame by frame and on a path, of what a model made of consecutive frames."""
    points: list[TrackPoint] = []
    searched: list[SearchedPoints] = []
    for embedded in gather_frames(parts, FRAMES_SEARCHED_AT_ONCE):
        points += estimate_points(session, embedded, TOP_K)
        searched.append(search_for_path(session, embedded))
    track = Track("film", tuple(points), session.bundle.name)
    rule = path_rule(session.rule, plausible_speed_km_h(session.rule), session.step_s)
    return track, smooth_track(track, SearchedPoints.join(searched), session.gallery.latlon_deg, rule, TOP_K)


def locate_clips(session: Session, frames_rgb: np.ndarray) -> list[tuple[list[TrackPoint], np.ndarray]]:
    """Return for each clip (T, S, S, 3) uint8 its estimates, frame by frame, and the final embeddings (T, E)."""
    embedded = embed_film(session, frames_rgb)
    points = [
        point for part in gather_frames(embedded, FRAMES_SEARCHED_AT_ONCE)
        for point in estimate_points(session, part, TOP_K)
    ]  # fmt: skip
    frames = frames_rgb.shape[1]
    return [
        (points[number * frames : (number + 1) * frames], clip.outputs["refined_embedding"])
        for number, clip in enumerate(embedded)
    ]


def embed_film(session: Session, frames_rgb: np.ndarray) -> list[EmbeddedFrames]:
    """Return what the model makes of each clip (T, S, S, 3) uint8 of a film (B, T, S, S, 3)."""
    whole = join_frames(list(_embedded(session, frames_rgb, None)))
    clips, frames = frames_rgb.shape[:2]
    return [whole.cut(clip * frames, (clip + 1) * frames) for clip in range(clips)]


def film_outputs(session: Session, frames_rgb: np.ndarray) -> Outputs:
    """Return what the model makes of clips (B, T, S, S, 3) uint8, arrays (B, T, ...)."""
    clips = embed_film(session, frames_rgb)
    return {name: np.stack([clip.outputs[name] for clip in clips]) for name in clips[0].outputs}


def _embedded(session: Session, frames_rgb: np.ndarray, step_s: float | None) -> Iterator[EmbeddedFrames]:
    """Yield the frames of all clips; those of several clips in one pass through the gallery, where each is a window."""
    batches = hold_repeats(_batches(frames_rgb, step_s or session.step_s))
    encoded = encode_batches(session, batches)
    if step_s is not None or frames_rgb.shape[1] != session.bundle.window.frames:
        yield from embed_frames(session, encoded)
        return
    waiting: list[EncodedFrames] = []
    for clip in encoded:
        if any(facts.repeats is not None for facts in clip.facts):
            yield from _run_clips(session, waiting)
            yield from embed_frames(session, [clip])
            waiting = []
            continue
        waiting.append(clip)
        if len(waiting) == WINDOWS_AT_ONCE:
            yield from _run_clips(session, waiting)
            waiting = []
    yield from _run_clips(session, waiting)


def _run_clips(session: Session, clips: list[EncodedFrames]) -> Iterator[EmbeddedFrames]:
    if not clips:
        return
    outputs = run_windows(session, np.stack([clip.features for clip in clips]))
    for number, clip in enumerate(clips):
        yield EmbeddedFrames(clip.facts, {name: values[number] for name, values in outputs.items()})


def _batches(frames_rgb: np.ndarray, step_s: float) -> Iterator[FrameBatch]:
    """Yield a batch a clip; time goes on from clip to clip."""
    frames = frames_rgb.shape[1]
    for clip, pictures in enumerate(frames_rgb):
        spread = spread_levels(pictures)
        facts = tuple(
            FrameFacts(clip * frames + number, (clip * frames + number) * step_s, clip, float(spread[number]))
            for number in range(frames)
        )
        yield FrameBatch(np.ascontiguousarray(pictures), facts)
