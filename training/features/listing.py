"""Which clips and frames a cache holds, in order, and what makes two caches the same."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from training.checkpoint import REFUSED_BY_NUMPY, write_json
from vidtag_cli.errors import InputError

_CLIPS, _POSITIONS, _TIMES, _OFFSETS = "clips.json", "latlon_deg.npy", "time_s.npy", "offsets.npy"

FORMAT = 1


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """Names of a clip: ``key`` is unique, clips of one ``group`` are never split, ``stratum`` is the city or style."""

    key: str
    group: str
    stratum: str
    place: dict[str, str | None] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CacheListing:
    """Clips, and their frames one after the other: clip ``i`` has the rows ``offsets[i]`` to ``offsets[i + 1]`` of
    ``latlon_deg`` (R, 2), ``time_s`` (R,) and the features.
    """

    clips: tuple[ClipRecord, ...]
    offsets: np.ndarray
    latlon_deg: np.ndarray
    time_s: np.ndarray

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def rows(self) -> int:
        return int(self.offsets[-1])

    def counts(self) -> np.ndarray:
        """Return the number of frames (C,) of each clip."""
        return np.diff(self.offsets)

    def sha256(self, frame_names: str = "") -> str:
        """Return a hash of everything here, and of whatever else tells the frames apart."""
        digest = hashlib.sha256(json.dumps(self._document()).encode())
        for array in (self.offsets, self.latlon_deg, self.time_s):
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(frame_names.encode())
        return digest.hexdigest()

    def write(self, folder: Path) -> None:
        write_json(folder / _CLIPS, self._document())
        np.save(folder / _POSITIONS, self.latlon_deg)
        np.save(folder / _TIMES, self.time_s)
        np.save(folder / _OFFSETS, self.offsets)

    def _document(self) -> list[dict[str, Any]]:
        return [
            {"key": clip.key, "group": clip.group, "stratum": clip.stratum, "place": clip.place} for clip in self.clips
        ]


def read_listing(folder: Path) -> CacheListing:
    """Return what :meth:`CacheListing.write` wrote; raises InputError when it is damaged."""
    try:
        clips = tuple(ClipRecord(**clip) for clip in json.loads((folder / _CLIPS).read_text("utf-8")))
        arrays = [np.load(folder / name, allow_pickle=False) for name in (_OFFSETS, _POSITIONS, _TIMES)]
    except (*REFUSED_BY_NUMPY, TypeError) as error:
        raise InputError(
            f"{folder}: the listing of the cache is damaged ({error}); remove it to encode anew"
        ) from error
    return CacheListing(clips, *arrays)


@dataclass(frozen=True, slots=True)
class CacheIdentity:
    """SHA-256 of the backbones' weights and of the listing of frames and positions, and the preprocessing in words."""

    weights: str
    preprocessing: str
    listing: str
    feature_dim: int
    format: int = FORMAT


def weights_fingerprint(encoder: nn.Module) -> str:
    """Return the SHA-256 of the names and values of all weights."""
    digest = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def require_same(folder: Path, stored: CacheIdentity, asked: CacheIdentity) -> None:
    """Raise InputError that names what differs between a cache on disk and the one asked for."""
    if stored == asked:
        return
    differing = [
        f"{field.name} {getattr(stored, field.name)!r}, wanted {getattr(asked, field.name)!r}"
        for field in dataclasses.fields(CacheIdentity)
        if getattr(stored, field.name) != getattr(asked, field.name)
    ]
    raise InputError(
        f"{folder}: these features are of other frames or weights ({'; '.join(differing)}); give another folder, or "
        "remove this one to encode anew"
    )
