"""One pass of the frozen backbones over the frames of a data set."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch

from training.config import ClipsConfig
from training.data.sample import Sample
from training.features.listing import CacheIdentity, CacheListing, ClipRecord, weights_fingerprint
from training.features.store import FeatureCache, open_cache
from training.features.writer import FeatureWriter, open_writer
from training.model.dual_encoder import DualFrameEncoder
from vidtag_cli.errors import InputError, VidtagError

_log = logging.getLogger("training")

_TELL_EVERY_S = 10.0

ReadFrames = Callable[[Sample, np.ndarray, int], np.ndarray]
"""Sample, frames (T,) and side in pixels -> (T, S, S, 3) uint8 RGB."""

Item = TypeVar("Item")
Result = TypeVar("Result")

EncoderPrecision = Literal["float32", "float16"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How frames are encoded: ``batch_frames`` at once and lost by a kill at most, ``readers`` threads that decode."""

    size_px: int
    device: torch.device = torch.device("cpu")
    precision: EncoderPrecision = "float32"
    batch_frames: int = 64
    readers: int = 2

    def preprocessing(self) -> str:
        """Return in words what, besides weights and frames, decides about a feature."""
        return f"{self.size_px} px RGB, {self.precision}"


def cache_samples(
    encoder: DualFrameEncoder,
    samples: Sequence[Sample],
    folder: Path,
    encoding: Encoding,
    clips: ClipsConfig,
    read: ReadFrames,
) -> FeatureCache:
    """Return the cache of the samples' features, encoding what a killed run has not.

    A sample whose frames cannot be read is recorded as failed, with the reason, and left out of training.
    """
    frames = [kept_frames(len(sample), clips.max_frames) for sample in samples]
    listing = list_samples(samples, frames)
    names = "\n".join(_frame_names(sample, kept) for sample, kept in zip(samples, frames, strict=True))
    feature_dim = _feature_dim(encoder, encoding)
    identity = CacheIdentity(weights_fingerprint(encoder), encoding.preprocessing(), listing.sha256(names), feature_dim)
    with open_writer(folder, identity, listing) as writer:
        _encode(encoder, samples, frames, listing, writer, encoding, read)
        failed = len(writer.journal.failed)
    if samples and failed == len(samples):
        raise InputError(f"{folder}: none of the {failed} samples could be read; see {writer.journal.path}")
    return open_cache(folder, identity)


def kept_frames(count: int, limit: int) -> np.ndarray:
    """Return which frames (K,) of a sequence are encoded: all of them, or evenly spaced ones up to the limit."""
    if count <= limit:
        return np.arange(count)
    return np.linspace(0, count - 1, limit).round().astype(np.int64)


def list_samples(samples: Sequence[Sample], frames: Sequence[np.ndarray]) -> CacheListing:
    """Return the listing of the chosen frames of samples."""
    records = tuple(
        ClipRecord(sample.key, sample.group, sample.stratum, None if sample.place is None else _place(sample))
        for sample in samples
    )
    offsets = np.concatenate([[0], np.cumsum([len(kept) for kept in frames])]).astype(np.int64)
    pairs = list(zip(samples, frames, strict=True))
    latlon = np.concatenate([sample.latlon_deg[kept] for sample, kept in pairs] or [np.zeros((0, 2))])
    times = np.concatenate([sample.time_s[kept] for sample, kept in pairs] or [np.zeros(0)])
    return CacheListing(records, offsets, latlon, times)


def batches(counts: np.ndarray, batch_frames: int) -> Iterator[list[tuple[int, slice]]]:
    """Yield batches of (clip, frames of it) in order, at most ``batch_frames`` each: whole clips where they fit, so
    that no video is opened twice; only longer ones are divided.
    """
    batch: list[tuple[int, slice]] = []
    room = batch_frames
    for clip, count in enumerate(int(value) for value in counts):
        if batch and count > room:
            yield batch
            batch, room = [], batch_frames
        for begin in range(0, count, batch_frames):
            if room == 0:
                yield batch
                batch, room = [], batch_frames
            part = slice(begin, min(begin + batch_frames, count))
            batch.append((clip, part))
            room -= part.stop - part.start
    if batch:
        yield batch


@torch.no_grad()
def _encode(
    encoder: DualFrameEncoder,
    samples: Sequence[Sample],
    frames: Sequence[np.ndarray],
    listing: CacheListing,
    writer: FeatureWriter,
    encoding: Encoding,
    read: ReadFrames,
) -> None:
    encoder.eval().to(encoding.device)
    progress = _Throughput(writer.rows, listing.rows)

    def read_batch(batch: list[tuple[int, slice]]) -> list[tuple[int, np.ndarray | VidtagError, int]]:
        return [(clip, *_read(read, samples[clip], frames[clip][part], encoding.size_px)) for clip, part in batch]

    ahead = _unfinished(batches(listing.counts(), encoding.batch_frames), listing, writer.rows)
    for batch in _prefetched(read_batch, ahead, encoding.readers):
        pictures = []
        for clip, outcome, count in batch:
            key = samples[clip].key
            if isinstance(outcome, VidtagError):
                if key not in writer.journal.failed:
                    writer.journal.add_failure(key, str(outcome))
                    _log.warning("%s: left out: %s", key, outcome)
                outcome = np.zeros((count, encoding.size_px, encoding.size_px, 3), np.uint8)
            pictures.append(outcome)
        writer.append(_features(encoder, np.concatenate(pictures), encoding))
        progress.tell(writer.rows)


def _features(encoder: DualFrameEncoder, frames_rgb: np.ndarray, encoding: Encoding) -> np.ndarray:
    half = torch.autocast(encoding.device.type, torch.float16) if encoding.precision == "float16" else nullcontext()
    with half:
        features = encoder(torch.from_numpy(frames_rgb).to(encoding.device))
    return features.float().cpu().numpy()


def _read(read: ReadFrames, sample: Sample, frames: np.ndarray, size_px: int) -> tuple[np.ndarray | VidtagError, int]:
    """Return the pictures, or why there are none, and how many were wanted."""
    try:
        return read(sample, frames, size_px), len(frames)
    except VidtagError as error:
        return error, len(frames)
    except OSError as error:
        return InputError(f"{sample.key}: cannot be read: {error}"), len(frames)


def _unfinished(
    all_batches: Iterable[list[tuple[int, slice]]], listing: CacheListing, done: int
) -> Iterator[list[tuple[int, slice]]]:
    """Yield what is left after ``done`` rows; a run begun with other batches may have stopped inside one."""
    for batch in all_batches:
        left = []
        for clip, part in batch:
            begin = max(part.start, done - int(listing.offsets[clip]))
            if begin < part.stop:
                left.append((clip, slice(begin, part.stop)))
        if left:
            yield left


def _prefetched(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yield the results in order while threads work a few items ahead; memory holds no more than those."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _Throughput:
    """Tells every ten seconds, and at the end, how far it is and how fast."""

    def __init__(self, done: int, total: int) -> None:
        self._first, self._total = done, total
        self._began = self._told = time.monotonic()

    def tell(self, rows: int) -> None:
        now = time.monotonic()
        if now - self._told < _TELL_EVERY_S and rows < self._total:
            return
        self._told = now
        per_s = (rows - self._first) / max(now - self._began, 1e-9)
        left_s = (self._total - rows) / max(per_s, 1e-9)
        _log.info("features: %d of %d frames, %.1f frames/s, %.0f s left", rows, self._total, per_s, left_s)


def _feature_dim(encoder: DualFrameEncoder, encoding: Encoding) -> int:
    encoder.eval().to(encoding.device)
    with torch.no_grad():
        frame = torch.zeros(1, encoding.size_px, encoding.size_px, 3, dtype=torch.uint8, device=encoding.device)
        return int(encoder(frame).shape[-1])


def _frame_names(sample: Sample, kept: np.ndarray) -> str:
    """Return names of frames that do not change when a data set moves to another disk."""
    return " ".join(f"{sample.frames[index].path.name}@{sample.frames[index].media_time_s}" for index in kept)


def _place(sample: Sample) -> dict[str, str | None]:
    place = sample.place
    if place is None:
        return {}
    return {"city": place.city, "state": place.state, "country": place.country, "continent": place.continent}
