"""Predictions of a finished run from cached features alone: which sequences, which places, which gallery."""

import numpy as np
import pytest
import torch
from finished_run import CITIES, write_run
from small_preset import small_preset

from training.evaluation.predictions import load_predictions
from training.features.listing import CacheIdentity, CacheListing, ClipRecord
from training.features.store import open_cache
from training.features.writer import open_writer
from training.run.predict import PredictOptions, predict_sets
from vidtag_cli.errors import InputError

CPU = torch.device("cpu")
FRAMES = (4, 6, 5, 3, 8, 4)


def write_cache(folder, moving=False):
    """Return a cache of six sequences, two in each city, that stand at its centre as those of CityGuessr68k do."""
    names = [*CITIES, *CITIES]
    records = tuple(
        ClipRecord(f"clip/{number}", f"clip/{number}", city, {"city": city, "country": "Fiji"})
        for number, city in enumerate(names)
    )
    offsets = np.concatenate([[0], np.cumsum(FRAMES)])
    latlon = np.repeat([CITIES[name] for name in names], FRAMES, axis=0)
    if moving:
        latlon = latlon + np.arange(len(latlon))[:, None] * 3e-3
    listing = CacheListing(records, offsets, latlon, np.arange(len(latlon), dtype=float))
    width = small_preset().model.feature_dim
    features = np.random.default_rng(0).normal(size=(len(latlon), width))
    with open_writer(folder, CacheIdentity("made up", "none", listing.sha256(), width), listing) as writer:
        writer.append(features)
    return open_cache(folder)


def test_data_of_training_is_asked_where_it_was_held_out_and_other_data_whole(tmp_path):
    run, cache = write_run(tmp_path / "run", held_out=("clip/1", "clip/3")), write_cache(tmp_path / "cache")
    files = predict_sets(run, {"trained": cache, "other": cache}, tmp_path, PredictOptions(), CPU)
    trained, other = (load_predictions(path) for path in files)
    assert trained.keys == ("clip/1",)  # clip/3 has fewer frames than the clips of training
    assert other.keys == ("clip/0", "clip/1", "clip/2", "clip/4", "clip/5")
    assert list(other.frames_per_clip()) == [4, 6, 5, 8, 4]


def test_places_across_the_antimeridian_are_told_under_one_longitude(tmp_path):
    """Equal Earth has these under both longitudes while it searches."""
    run, cache = write_run(tmp_path / "run"), write_cache(tmp_path / "cache")
    (path,) = predict_sets(run, {"other": cache}, tmp_path, PredictOptions(), CPU)
    found = {tuple(place) for place in load_predictions(path).predicted_latlon_deg.round(6)}
    gallery = np.array(list(CITIES.values())) + 0.01
    assert found <= {tuple(place) for place in gallery.round(6)}


def test_cities_become_the_classes_where_every_sequence_stands_at_a_centre(tmp_path):
    run = write_run(tmp_path / "run")
    caches = {"cityguessr": write_cache(tmp_path / "still"), "mine": write_cache(tmp_path / "moving", moving=True)}
    still, moving = (load_predictions(path) for path in predict_sets(run, caches, tmp_path, PredictOptions(), CPU))
    assert still.info.dataset == "cityguessr68k"  # as the paper's table 3 has it
    assert still.centres.places[:, 0].tolist() == list(CITIES)
    assert still.centres.latlon_deg == pytest.approx(np.array(list(CITIES.values())))
    assert still.places[0].tolist() == ["Suva", "", "Fiji", ""]
    assert moving.centres is None
    assert moving.places is not None


def test_phase_one_alone_has_a_name_of_its_own(tmp_path):
    run, cache = write_run(tmp_path / "run"), write_cache(tmp_path / "cache")
    options = PredictOptions(frames=4, refine=False)
    (path,) = predict_sets(run, {"other": cache}, tmp_path, options, CPU)
    found = load_predictions(path)
    assert found.info.model == "paper, Phase I"
    assert set(found.frames_per_clip()) == {4}


def test_what_cannot_be_asked_is_refused(tmp_path):
    run, cache = write_run(tmp_path / "run", held_out=("clip/3",)), write_cache(tmp_path / "cache")
    with pytest.raises(InputError, match="no held-out sequence of at least 4 frames"):
        predict_sets(run, {"trained": cache}, tmp_path, PredictOptions(), CPU)
    (run / "final" / "splits.json").unlink()
    with pytest.raises(InputError, match="splits.json missing"):
        predict_sets(run, {"trained": cache}, tmp_path, PredictOptions(), CPU)
