"""City, state, country and continent of a clip (Table 3), and who is mistaken for whom (Fig. 11)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.evaluation.predictions import PLACE_LEVELS, ClassCentres, Predictions
from vidtag_cli.evaluation.bootstrap import RESAMPLES, ClipResampling, Estimate, estimate_ratio
from vidtag_cli.evaluation.metrics import representative_latlon
from vidtag_cli.geo.nearest import nearest_neighbour

ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class Confusion:
    """Shares (K, K + 1) of the clips of each true city that were put into each of these cities, or elsewhere."""

    cities: tuple[str, ...]
    shares: np.ndarray
    clips: np.ndarray


def nearest_centre_places(predictions: Predictions, centres: ClassCentres) -> np.ndarray:
    """Return the places (C, 4) of the class centre nearest to each clip's prediction; empty where all abstained.

    The clip's prediction is the one of appendix E.1: that nearest to the centroid of all.
    """
    places = np.full((len(predictions), len(PLACE_LEVELS)), "", dtype=centres.places.dtype)
    located = [(row, predicted[~np.isnan(predicted[:, 0])]) for row, (_, predicted) in enumerate(predictions.clips())]
    located = [(row, predicted) for row, predicted in located if len(predicted)]
    if located:
        _, nearest = nearest_neighbour(
            np.stack([representative_latlon(predicted) for _, predicted in located]), centres.latlon_deg
        )
        places[[row for row, _ in located]] = centres.places[nearest]
    return places


def place_accuracy(
    true_places: np.ndarray, predicted_places: np.ndarray, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Estimate]:
    """Return the share of clips (C, 4) whose place is right at each level.

    A name counts together with the country around it: the Hyderabad of India is not that of Pakistan. A clip whose
    true name is unknown at a level is left out there; a prediction left empty is a miss.
    """
    resampling = ClipResampling(len(true_places), seed, resamples)
    accuracy = {}
    for number, level in enumerate(PLACE_LEVELS):
        known = true_places[:, number] != ""
        right = known & (place_identities(true_places, number) == place_identities(predicted_places, number))
        accuracy[level] = estimate_ratio(right.astype(float), known.astype(float), resampling)
    return accuracy


def confusion_of_hardest(true_places: np.ndarray, predicted_places: np.ndarray, cities: int = 24) -> Confusion:
    """Return who is mistaken for whom among the cities that are recognised least, hardest first (paper appendix K)."""
    true_city, predicted_city = place_identities(true_places, 0), place_identities(predicted_places, 0)
    known = true_places[:, 0] != ""
    true_city, predicted_city = true_city[known], predicted_city[known]
    names, clips = np.unique(true_city, return_counts=True)
    recall = np.array([np.mean(predicted_city[true_city == name] == name) for name in names])
    hardest = np.lexsort((names, recall))[:cities]
    shares = np.zeros((len(hardest), len(hardest) + 1))
    for row, name in enumerate(names[hardest]):
        predicted = predicted_city[true_city == name]
        shares[row, :-1] = [np.mean(predicted == other) for other in names[hardest]]
        shares[row, -1] = 1.0 - shares[row, :-1].sum()
    labels = [_city_label(name, names) for name in names[hardest]]
    return Confusion(tuple(labels), shares, clips[hardest])


def place_identities(places: np.ndarray, level: int) -> np.ndarray:
    """Return one string a clip that tells two places of one name apart: the name and its country."""
    country = PLACE_LEVELS.index("country")
    if level >= country:
        return places[:, level].astype(np.str_)
    return np.array([f"{row[level]}, {row[country]}" if row[level] else "" for row in places], dtype=np.str_)


def _city_label(identity: str, among: np.ndarray) -> str:
    """Return the city's name alone unless two countries have one of that name."""
    city = identity.rpartition(", ")[0]
    return city if sum(other.rpartition(", ")[0] == city for other in among) == 1 else identity
