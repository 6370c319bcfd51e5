"""Predictions of a model on the clips of one data set: what training writes and evaluation reads.

A predictions file is an ``.npz`` archive without Python objects, written by :func:`save_predictions`:

=====================  =============  ==============================================================================
``info``               () str         JSON: format, model, dataset, gallery, resolution of the gallery, leak check
``keys``               (C,) str       the clips
``offsets``            (C + 1,) i64   clip ``c`` is frames ``offsets[c]`` to ``offsets[c + 1]``
``truth_latlon_deg``   (N, 2) f64     true positions, NaN where a frame has none
``predicted_latlon_deg``  (N, 2) f64  predicted positions, NaN where the model abstained
``places``             (C, 4) str     optional: true city, state, country, continent, empty where unknown
``predicted_places``   (C, 4) str     optional: what a classifier says, level by level
``centre_places``      (K, 4) str     optional, with ``centre_latlon_deg`` (K, 2) f64: the cities a clip can be in
``embeddings``         (N, E) f16     optional: frame embeddings, for the feature plots
=====================  =============  ==============================================================================
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.checkpoint import REFUSED_BY_NUMPY
from training.evaluation.leak import LeakCheck
from vidtag_cli.errors import InputError
from vidtag_cli.evaluation.metrics import paired_latlon
from vidtag_cli.files import replace_file

FORMAT = "vidtag-predictions/1"
PLACE_LEVELS = ("city", "state", "country", "continent")


@dataclass(frozen=True, slots=True)
class PredictionInfo:
    """Where predictions come from. ``leak`` is None when nobody compared the gallery with the queries."""

    model: str
    dataset: str
    gallery: str
    gallery_spacing_km: float | None = None
    leak: LeakCheck | None = None


@dataclass(frozen=True, slots=True)
class ClassCentres:
    """The places a clip can be assigned to: names (K, 4) from city to continent and positions (K, 2) in degrees."""

    places: np.ndarray
    latlon_deg: np.ndarray


@dataclass(frozen=True, slots=True)
class Predictions:
    """True and predicted positions of clips laid end to end; the module's table says what each array holds.

    Raises ValueError when the arrays do not fit each other or a position is out of range.
    """

    info: PredictionInfo
    keys: tuple[str, ...]
    offsets: np.ndarray
    truth_latlon_deg: np.ndarray
    predicted_latlon_deg: np.ndarray
    places: np.ndarray | None = None
    predicted_places: np.ndarray | None = None
    centres: ClassCentres | None = None
    embeddings: np.ndarray | None = None

    def __post_init__(self) -> None:
        paired_latlon(self.truth_latlon_deg, self.predicted_latlon_deg)
        clips, frames = len(self.keys), len(self.truth_latlon_deg)
        ends = (int(self.offsets[0]), int(self.offsets[-1])) if len(self.offsets) else (0, 0)
        if len(self.offsets) != clips + 1 or ends != (0, frames) or (np.diff(self.offsets) <= 0).any():
            raise ValueError(f"offsets must rise from 0 to {frames} in {clips + 1} steps, no clip without a frame")
        if len(set(self.keys)) != clips:
            raise ValueError("two clips have one key")
        for name, array, shape in (
            ("places", self.places, (clips, len(PLACE_LEVELS))),
            ("predicted_places", self.predicted_places, (clips, len(PLACE_LEVELS))),
        ):
            if array is not None and array.shape != shape:
                raise ValueError(f"{name} is {array.shape}, not {shape}: one row a clip, from city to continent")
        if self.embeddings is not None and len(self.embeddings) != frames:
            raise ValueError(f"{len(self.embeddings)} embeddings for {frames} frames")

    def __len__(self) -> int:
        return len(self.keys)

    def clips(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the true and the predicted positions of each clip, both (T, 2)."""
        for begin, end in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            yield self.truth_latlon_deg[begin:end], self.predicted_latlon_deg[begin:end]

    def frames_per_clip(self) -> np.ndarray:
        """Return the (C,) number of frames of each clip."""
        return np.diff(self.offsets)

    def clip_of_frame(self) -> np.ndarray:
        """Return the (N,) number of the clip each frame is of."""
        return np.repeat(np.arange(len(self)), self.frames_per_clip())

    def select(self, clips: np.ndarray) -> Predictions:
        """Return the clips of a boolean mask (C,) alone."""
        frames = clips[self.clip_of_frame()]
        return Predictions(
            self.info,
            tuple(key for key, kept in zip(self.keys, clips, strict=True) if kept),
            np.concatenate([[0], np.cumsum(self.frames_per_clip()[clips])]),
            self.truth_latlon_deg[frames],
            self.predicted_latlon_deg[frames],
            None if self.places is None else self.places[clips],
            None if self.predicted_places is None else self.predicted_places[clips],
            self.centres,
            None if self.embeddings is None else self.embeddings[frames],
        )


def join_clips(
    info: PredictionInfo,
    keys: Sequence[str],
    truth_latlon_deg: Sequence[np.ndarray],
    predicted_latlon_deg: Sequence[np.ndarray],
    **optional: Any,
) -> Predictions:
    """Return predictions from one (T, 2) array a clip; ``optional`` are further fields of :class:`Predictions`."""
    for key, truth, predicted in zip(keys, truth_latlon_deg, predicted_latlon_deg, strict=True):
        if len(truth) != len(predicted):
            raise ValueError(f"clip {key}: {len(truth)} true and {len(predicted)} predicted positions")
    return Predictions(
        info,
        tuple(keys),
        np.cumsum([0, *map(len, truth_latlon_deg)]),
        np.concatenate([np.zeros((0, 2)), *truth_latlon_deg]),
        np.concatenate([np.zeros((0, 2)), *predicted_latlon_deg]),
        **optional,
    )


def save_predictions(predictions: Predictions, path: Path) -> None:
    """Write a predictions file that is either whole or not there."""
    arrays: dict[str, np.ndarray] = {
        "info": np.array(json.dumps({"format": FORMAT, **dataclasses.asdict(predictions.info)})),
        "keys": np.array(predictions.keys, dtype=np.str_),
        "offsets": predictions.offsets.astype(np.int64),
        "truth_latlon_deg": predictions.truth_latlon_deg.astype(np.float64),
        "predicted_latlon_deg": predictions.predicted_latlon_deg.astype(np.float64),
    }
    for name in ("places", "predicted_places"):
        if (labels := getattr(predictions, name)) is not None:
            arrays[name] = labels.astype(np.str_)
    if predictions.centres is not None:
        arrays["centre_places"] = predictions.centres.places.astype(np.str_)
        arrays["centre_latlon_deg"] = predictions.centres.latlon_deg.astype(np.float64)
    if predictions.embeddings is not None:
        arrays["embeddings"] = predictions.embeddings.astype(np.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda stream: np.savez_compressed(stream, allow_pickle=False, **arrays))


def load_predictions(path: Path) -> Predictions:
    """Return a predictions file. Raises InputError that names the file when it is none or does not fit together."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return _from_arrays(arrays)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such predictions file") from error
    except (*REFUSED_BY_NUMPY, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a predictions file of format {FORMAT}: {error}") from error


def _from_arrays(arrays: dict[str, np.ndarray]) -> Predictions:
    info = json.loads(str(arrays["info"]))
    if info.pop("format", None) != FORMAT:
        raise ValueError("its format is another one")
    leak = info.pop("leak")
    centres = None
    if "centre_places" in arrays:
        centres = ClassCentres(arrays["centre_places"], arrays["centre_latlon_deg"])
    return Predictions(
        PredictionInfo(**info, leak=None if leak is None else LeakCheck(**leak)),
        tuple(arrays["keys"].tolist()),
        arrays["offsets"],
        arrays["truth_latlon_deg"],
        arrays["predicted_latlon_deg"],
        arrays.get("places"),
        arrays.get("predicted_places"),
        centres,
        arrays.get("embeddings"),
    )
