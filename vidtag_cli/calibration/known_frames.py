"""What a model says of frames whose true places are known: all that calibration needs to know of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vidtag_cli.gallery.build import Embed
from vidtag_cli.gallery.posterior import PosteriorSummary
from vidtag_cli.gallery.store import Gallery


class SearchPlaces(Protocol):
    """The search that the runtime makes: cosines (N, k), indices (N, k) of the gallery, best first, and a summary."""

    def __call__(self, queries: np.ndarray, k: int, scale: float) -> tuple[np.ndarray, np.ndarray, PosteriorSummary]:
        """Return what is found for unit vectors (N, E), with posteriors at this factor on cosines."""
        ...


@dataclass(frozen=True, slots=True)
class SearchedPlaces:
    """A gallery with the two functions that calibration asks of a model: the search, and the location encoder."""

    gallery: Gallery
    search: SearchPlaces
    embed: Embed


@dataclass(frozen=True, slots=True, eq=False)
class KnownFrames:
    """N frames of C clips, clip after clip, in the order of their times.

    ``clip`` (N,) int64 counts clips from 0, ``shot`` (N,) int64 the shots of all clips, ``media_time_s`` (N,) rises
    within a clip. ``first_embedding`` and ``embedding`` (N, E) float32 are unit vectors: those of the search that paths
    start from, and the final ones. ``disagreement_km`` and ``domain_distance`` (N,) are as the runtime has them;
    ``truth_latlon_deg`` (N, 2) are the true places. ``is_usable`` (N,) says that the picture is not blank, that
    the model had an answer and its gate no objection.
    """

    clip: np.ndarray
    shot: np.ndarray
    media_time_s: np.ndarray
    first_embedding: np.ndarray
    embedding: np.ndarray
    disagreement_km: np.ndarray
    domain_distance: np.ndarray
    truth_latlon_deg: np.ndarray
    is_usable: np.ndarray

    @property
    def clips(self) -> int:
        return len(np.unique(self.clip))

    def row_in_clip(self) -> np.ndarray:
        """Return (N,) int64, the place of each frame in its clip."""
        begins = np.flatnonzero(np.diff(self.clip, prepend=-1))
        return np.arange(len(self.clip)) - begins[np.searchsorted(begins, np.arange(len(self.clip)), side="right") - 1]

    def shots(self) -> list[np.ndarray]:
        """Return the rows of each shot."""
        return np.split(np.arange(len(self.shot)), np.flatnonzero(np.diff(self.shot)) + 1)
