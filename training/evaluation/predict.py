"""From a model, its data and a gallery to predictions that say whether the gallery gave the answers away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from training.evaluation.leak import check_leak, refuse_leak
from training.evaluation.predictions import ClassCentres, PredictionInfo, Predictions, join_clips

Store = TypeVar("Store", contravariant=True)


class Predictor(Protocol[Store]):
    """A trained model that finds places in a gallery; what it reads of the clips is its own business."""

    def __call__(self, store: Store, gallery_latlon_deg: np.ndarray, /) -> Iterable[np.ndarray]:
        """Yield the predicted positions (T, 2) of each clip of the store, in its order; NaN is an abstention."""
        ...


@dataclass(frozen=True, slots=True)
class QueryClips:
    """The clips to be located: keys, true positions (T, 2) each, and optionally their places (C, 4)."""

    dataset: str
    keys: Sequence[str]
    truth_latlon_deg: Sequence[np.ndarray]
    places: np.ndarray | None = None
    centres: ClassCentres | None = None


@dataclass(frozen=True, slots=True)
class NamedGallery:
    """Places (G, 2) in degrees that can be found; ``spacing_km`` when they are an even grid."""

    name: str
    latlon_deg: np.ndarray
    spacing_km: float | None = None


def predict(
    model: str,
    predictor: Predictor[Store],
    store: Store,
    clips: QueryClips,
    gallery: NamedGallery,
    *,
    allow_leak: bool = False,
) -> Predictions:
    """Return the predictions of a model on clips. Raises UsageError when the gallery holds their true positions."""
    leak = check_leak(gallery.latlon_deg, np.concatenate(list(clips.truth_latlon_deg)))
    refuse_leak(leak, allow_leak, gallery.name)
    info = PredictionInfo(model, clips.dataset, gallery.name, gallery.spacing_km, leak)
    located = list(predictor(store, gallery.latlon_deg))
    return join_clips(info, clips.keys, clips.truth_latlon_deg, located, places=clips.places, centres=clips.centres)


def validation_gallery(clips: QueryClips) -> NamedGallery:
    """Return the gallery of Table 11: the true positions of the queries themselves. It must be allowed to leak."""
    truth = np.concatenate(list(clips.truth_latlon_deg))
    return NamedGallery("validation set", np.unique(truth[~np.isnan(truth[:, 0])], axis=0))
