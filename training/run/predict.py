"""A finished run's answers on data sets: the predictions files that ``python -m training evaluate`` reads."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from training.checkpoint import REFUSED_BY_NUMPY
from training.evaluation.predict import NamedGallery, QueryClips, predict, validation_gallery
from training.evaluation.predictions import PLACE_LEVELS, ClassCentres, save_predictions
from training.features.clips import branch_features, centre_frames
from training.features.held_out import clips_among
from training.features.listing import CacheListing
from training.features.store import FeatureCache
from training.model.retrieval import best_places, both_longitudes, embed_gallery
from training.model.vidtag import VidTag
from training.run.folder import TrainedHeads, open_heads
from vidtag_cli.errors import InputError
from vidtag_cli.gallery.build import canonical_latlon

_log = logging.getLogger("training")

_PAPER_NAMES = {"cityguessr": "cityguessr68k"}
"""What the paper's tables call a data set, where it is not the name of its loader."""


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """``frames`` of each sequence from the middle of equal cells, 0 for all; whether GeoRefiner has the last word.

    ``gallery`` is ``run``, ``validation`` (the true positions themselves: a leak that must be allowed) or an ``.npy``
    file of places (G, 2).
    """

    frames: int = 0
    refine: bool = True
    gallery: str = "run"
    allow_leak: bool = False


def predict_sets(
    run: Path, caches: Mapping[str, FeatureCache], out: Path, options: PredictOptions, device: torch.device
) -> list[Path]:
    """Write ``NAME.npz`` into ``out`` for each data set by name and return the files.

    Of a data set that the run was trained on only the held-out sequences are asked, of any other all. Sequences shorter
    than the clips of training are left out, as in training. Raises InputError for a folder that is no finished run,
    features of other backbones, or a data set with no sequence to ask; UsageError for a gallery that holds the answers.
    """
    trained = open_heads(run)
    trained.model.to(device)
    written = []
    for name, cache in caches.items():
        if cache.identity.feature_dim != trained.config.model.feature_dim:
            raise InputError(f"{name}: its features are not of the backbones of {run}; encode it with them")
        clips = clips_to_ask(trained, name, cache)
        written.append(_predict_set(trained, name, cache, clips, options, out / f"{name}.npz"))
        _log.info("%s: %d sequences located", written[-1], len(clips))
    return written


def query_clips(name: str, cache: FeatureCache, clips: np.ndarray, frames: int) -> tuple[list[np.ndarray], QueryClips]:
    """Return the rows (T,) of the cache of each clip, ``frames`` of it or 0 for all, and what is asked about them."""
    listing = cache.listing
    rows = [_rows_of(listing, int(clip), frames) for clip in clips]
    return rows, QueryClips(
        _PAPER_NAMES.get(name, name),
        tuple(listing.clips[clip].key for clip in clips),
        [listing.latlon_deg[own] for own in rows],
        _places(listing, clips),
        _centres(listing),
    )


def clips_to_ask(trained: TrainedHeads, name: str, cache: FeatureCache) -> np.ndarray:
    """Return the clips (M,) that a run may be asked about; raises InputError when there is none."""
    frames = trained.config.clips.frames
    keys = trained.held_out.get(name, frozenset(clip.key for clip in cache.listing.clips))
    clips = clips_among(cache, frames, keys)
    if not len(clips):
        whose = "held-out sequence" if name in trained.held_out else "sequence"
        raise InputError(
            f"{name}: no {whose} of at least {frames} frames that could be read ({len(keys)} listed, "
            f"{len(cache.failed)} unreadable): there is nothing to predict; give more data"
        )
    return clips


def _predict_set(
    trained: TrainedHeads, name: str, cache: FeatureCache, clips: np.ndarray, options: PredictOptions, path: Path
) -> Path:
    rows, queries = query_clips(name, cache, clips, options.frames)
    gallery = _gallery(trained, queries, options)

    def locate(store: FeatureCache, places_latlon_deg: np.ndarray) -> Iterator[np.ndarray]:
        return locate_sequences(trained.model, store, rows, places_latlon_deg, refine=options.refine)

    title = trained.config.name if options.refine else f"{trained.config.name}, Phase I"
    predictions = predict(title, locate, cache, queries, gallery, allow_leak=options.allow_leak)
    save_predictions(predictions, path)
    return path


@torch.no_grad()
def locate_sequences(
    model: VidTag, cache: FeatureCache, rows: Sequence[np.ndarray], gallery_latlon_deg: np.ndarray, *, refine: bool
) -> Iterator[np.ndarray]:
    """Yield the positions (T, 2) of each sequence, given by its rows (T,) of the cache, all frames seen at once."""
    is_sphere = model.location_encoder.kind == "sphere"
    places = gallery_latlon_deg if is_sphere else both_longitudes(gallery_latlon_deg)
    gallery = embed_gallery(model, places)
    for own in rows:
        features = branch_features(cache.rows(own)[None], slice(None)).to(gallery.device)
        attended, embedding = model.embed_frames(features)  # (1, T, D), (1, T, E)
        best = best_places(embedding[0], gallery)
        if refine:
            best = best_places(model.georefiner(attended, gallery[best][None])[0], gallery)
        yield canonical_latlon(places[best.cpu().numpy()])


def _gallery(trained: TrainedHeads, queries: QueryClips, options: PredictOptions) -> NamedGallery:
    if options.gallery == "validation":
        return validation_gallery(queries)
    if options.gallery == "run":
        spacing_km = trained.config.gallery.spacing_km
        return NamedGallery(f"{spacing_km:g} km grid", trained.gallery_latlon_deg, spacing_km)
    path = Path(options.gallery)
    try:
        places = np.load(path, allow_pickle=False)
    except REFUSED_BY_NUMPY as error:
        raise InputError(f"{path}: no gallery: 'run', 'validation' or an .npy file of places is wanted") from error
    if places.ndim != 2 or places.shape[1] != 2 or not len(places):
        raise InputError(f"{path}: places are (G, 2) degrees, latitude first; this array is {places.shape}")
    return NamedGallery(path.stem, places.astype(np.float64))


def _rows_of(listing: CacheListing, clip: int, frames: int) -> np.ndarray:
    first, after = int(listing.offsets[clip]), int(listing.offsets[clip + 1])
    if 0 < frames < after - first:
        return first + centre_frames(after - first, frames)
    return np.arange(first, after)


def _places(listing: CacheListing, clips: np.ndarray) -> np.ndarray | None:
    """Return the names (C, 4) from city to continent; None where the data set names no place."""
    if all(listing.clips[clip].place is None for clip in clips):
        return None
    return np.array([_names(listing.clips[clip].place) for clip in clips])


def _centres(listing: CacheListing) -> ClassCentres | None:
    """Return the cities' centres of a data set whose clips all stand at one, as those of CityGuessr68k; else None."""
    centres: dict[tuple[str, ...], tuple[float, float]] = {}
    for number, clip in enumerate(listing.clips):
        names = tuple(_names(clip.place))
        own = listing.latlon_deg[listing.offsets[number] : listing.offsets[number + 1]]
        if not names[0] or (own != own[0]).any():
            return None
        here = (float(own[0, 0]), float(own[0, 1]))
        if centres.setdefault(names, here) != here:
            return None
    return ClassCentres(np.array(list(centres)), np.array(list(centres.values()))) if centres else None


def _names(place: Mapping[str, str | None] | None) -> list[str]:
    return [(place or {}).get(level) or "" for level in PLACE_LEVELS]
