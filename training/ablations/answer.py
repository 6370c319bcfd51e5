"""The answers of a trained row on flights, kept as predictions files that ``evaluate`` reads too."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from training.ablations.flyover_run import FlightSet
from training.ablations.recipe import Recipe
from training.baselines.classifier import CellClassifier, frame_rows
from training.checkpoint import identify
from training.evaluation.predict import NamedGallery, QueryClips, predict
from training.evaluation.predictions import PredictionInfo, Predictions, join_clips, load_predictions, save_predictions
from training.features.clips import branch_features
from training.flyover.features import FeatureStore
from training.model.retrieval import best_places, both_longitudes, embed_gallery
from training.model.vidtag import VidTag
from vidtag_cli.gallery.build import canonical_latlon

Train = Callable[[], VidTag | CellClassifier]

_CLIPS = 16


def answer(recipe: Recipe, train: Train, flights: FlightSet, gallery: NamedGallery, out: Path) -> Predictions:
    """Return a row's predictions on flights, from the file of an earlier run where there is one; only otherwise is the
    row trained.
    """
    path = answer_path(recipe, flights, gallery, out)
    if path.is_file():
        return load_predictions(path)
    model = train()
    if isinstance(model, CellClassifier):
        predictions = _classify(recipe, model, flights)
    else:
        predictions = _retrieve(recipe, model, flights, gallery)
    save_predictions(predictions, path)
    return predictions


def answer_path(recipe: Recipe, flights: FlightSet, gallery: NamedGallery, out: Path) -> Path:
    """Return where a row's predictions lie, named after all that decides about them."""
    document = recipe.answers() | {"flights": flights.identity.listing, "gallery": _gallery_name(recipe, gallery)}
    folder = out / "predictions" / recipe.row.name / f"seed-{recipe.config.seed}" / identify(document)
    return folder / f"{flights.name}.npz"


def _retrieve(recipe: Recipe, model: VidTag, flights: FlightSet, gallery: NamedGallery) -> Predictions:
    row = recipe.row

    def locate(asked: FlightSet, latlon_deg: np.ndarray) -> Iterable[np.ndarray]:
        places = latlon_deg
        if row.both_longitudes:
            places = both_longitudes(places)
        predicted_deg = predict_clips(model, asked.store, places, branch=recipe.branch, refine=row.refine)
        return canonical_latlon(predicted_deg.reshape(-1, 2)).reshape(predicted_deg.shape)

    clips = QueryClips(f"flyover {flights.name}", flights.keys, list(flights.store.latlon_deg))
    return predict(row.title, locate, flights, clips, gallery)


def _classify(recipe: Recipe, classifier: CellClassifier, flights: FlightSet) -> Predictions:
    truth = flights.store.latlon_deg
    located = classifier.locate(frame_rows(flights.store.features, recipe.branch)).reshape(truth.shape)
    levels = recipe.row.cells.levels if recipe.row.cells else ()
    info = PredictionInfo(recipe.row.title, f"flyover {flights.name}", f"S2 cells of level {max(levels)}")
    return join_clips(info, flights.keys, list(truth), list(located))


def _gallery_name(recipe: Recipe, gallery: NamedGallery) -> str:
    """Return a hash of the places that are searched; a classifier searches none."""
    if recipe.row.cells is not None:
        return ""
    return hashlib.sha256(np.ascontiguousarray(gallery.latlon_deg, "<f8").tobytes()).hexdigest()


@torch.no_grad()
def predict_clips(
    model: VidTag, store: FeatureStore, gallery_latlon_deg: np.ndarray, *, branch: slice = slice(None), refine: bool
) -> np.ndarray:
    """Return predicted positions (B, T, 2) in degrees: of Phase I, or after GeoRefiner with ``refine``."""
    model.eval()
    gallery = embed_gallery(model, gallery_latlon_deg)
    predicted = []
    for begin in range(0, len(store), _CLIPS):
        features = branch_features(store.features[begin : begin + _CLIPS], branch).to(gallery.device)
        attended, embedding = model.embed_frames(features)  # (b, T, D), (b, T, E)
        best = best_places(embedding.flatten(0, 1), gallery)
        if refine:
            queries = gallery[best].reshape(embedding.shape)
            best = best_places(model.georefiner(attended, queries).flatten(0, 1), gallery)
        predicted.append(gallery_latlon_deg[best.cpu().numpy()].reshape(*features.shape[:2], 2))
    return np.concatenate(predicted)
