from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.predictions import ClassCentres, PredictionInfo, join_clips
from vidtag_cli.geo.sphere import destination_latlon

CITIES = (
    ("Helsinki", "Uusimaa", "Finland", "Europe", 60.17, 24.94),
    ("Suva", "Rewa", "Fiji", "Oceania", -18.14, 178.44),
    ("Hyderabad", "Telangana", "India", "Asia", 17.38, 78.48),
    ("Hyderabad", "Sindh", "Pakistan", "Asia", 25.39, 68.36),
    ("Anadyr", "Chukotka", "Russia", "Asia", 64.73, 177.5),
)
CLIPS_PER_CITY = 4


@pytest.fixture
def centres():
    return ClassCentres(np.array([city[:4] for city in CITIES]), np.array([city[4:] for city in CITIES]))


@pytest.fixture
def truth_tracks(centres):
    """Twenty drives of 5 to 40 frames, 20 m a frame, in five cities, two of which lie near the antimeridian."""
    random = np.random.default_rng(3)
    tracks = []
    for centre in centres.latlon_deg:
        for _ in range(CLIPS_PER_CITY):
            frames = int(random.integers(5, 41))
            start = destination_latlon(centre, random.uniform(0, 360), random.uniform(0, 8.0))
            bearing = np.full(frames, random.uniform(0, 360))
            tracks.append(destination_latlon(np.broadcast_to(start, (frames, 2)), bearing, np.arange(frames) * 0.02))
    return tracks


@pytest.fixture
def make_predictions(truth_tracks, centres):
    """Returns predictions whose frames miss by ``error_km`` on average, each in its own direction."""

    def make(model="model", dataset="toy", error_km=1.0, seed=0, **optional):
        random = np.random.default_rng(seed)
        predicted = [
            destination_latlon(track, random.uniform(0, 360, len(track)), random.exponential(error_km, len(track)))
            for track in truth_tracks
        ]
        keys = [f"clip{number:02d}" for number in range(len(truth_tracks))]
        places = np.repeat(centres.places, CLIPS_PER_CITY, axis=0)
        return join_clips(
            PredictionInfo(model, dataset, "grid"), keys, truth_tracks, predicted,
            **{"places": places, "centres": centres, **optional},
        )  # fmt: skip

    return make
