"""The sequences that no phase saw: some to calibrate on, the others to measure on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.ledger import ScanReport
from training.data.sample import Sample
from training.data.splits import hash_fraction
from training.features.clips import ClipBatch, middle_clips
from training.features.store import FeatureCache

CALIBRATION_SHARE = 0.5
MOST_CLIPS = 2000
"""Of each part; more would tell nothing new and make the search over the gallery long."""

_SALT = "calibration"


@dataclass(frozen=True, slots=True, eq=False)
class SplitSamples:
    """A data set's samples, and the keys of those that may be trained from; the others are held out.

    ``report`` are the books of the scan and ``report_file`` is where they were written, if they were.
    """

    samples: Sequence[Sample]
    train_keys: frozenset[str]
    report: ScanReport | None = None
    report_file: Path | None = None

    @property
    def held_out_keys(self) -> frozenset[str]:
        """The keys of all other samples."""
        return frozenset(sample.key for sample in self.samples) - self.train_keys


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutClips:
    """Clips of the length of training, from the middle of each stride cell. Both parts may be empty."""

    calibration: ClipBatch
    test: ClipBatch


def held_out_clips(
    sets: Mapping[str, SplitSamples], caches: Mapping[str, FeatureCache], frames: int, feature_dim: int
) -> HeldOutClips:
    """Return the clips of the held-out sequences of all data sets that have at least ``frames`` frames.

    Which part a sequence is in depends on its name alone, so it never changes sides when others come or go.
    """
    parts: tuple[list[ClipBatch], list[ClipBatch]] = ([], [])
    for name, cache in caches.items():
        clips = clips_among(cache, frames, sets[name].held_out_keys)
        is_calibration = np.array([_is_for_calibration(cache, clip) for clip in clips], dtype=bool)
        for part, own in zip(parts, (clips[is_calibration], clips[~is_calibration]), strict=True):
            if len(own):
                part.append(middle_clips(cache, _thinned(own), frames))
    return HeldOutClips(*(_join(part, frames, feature_dim) for part in parts))


def clips_among(cache: FeatureCache, frames: int, keys: frozenset[str]) -> np.ndarray:
    """Return the clips (M,) of these keys that could be read and have at least so many frames."""
    clips = cache.clips_of(frames)
    return clips[np.array([cache.listing.clips[clip].key in keys for clip in clips], dtype=bool)]


def _is_for_calibration(cache: FeatureCache, clip: int) -> bool:
    record = cache.listing.clips[clip]
    return hash_fraction(record.stratum, record.group, _SALT) < CALIBRATION_SHARE


def _thinned(clips: np.ndarray) -> np.ndarray:
    """Return at most ``MOST_CLIPS`` of them, evenly spaced, so that every city keeps its share."""
    if len(clips) <= MOST_CLIPS:
        return clips
    return clips[np.linspace(0, len(clips) - 1, MOST_CLIPS).round().astype(np.int64)]


def _join(parts: Sequence[ClipBatch], frames: int, feature_dim: int) -> ClipBatch:
    features = [np.zeros((0, frames, feature_dim), np.float16), *(part.features for part in parts)]
    latlon_deg = [np.zeros((0, frames, 2)), *(part.latlon_deg for part in parts)]
    return ClipBatch(np.concatenate(features), np.concatenate(latlon_deg))
