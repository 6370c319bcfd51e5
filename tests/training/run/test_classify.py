"""Classification baselines on a run's cached features: what they learn from, what they answer, that they go on."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from finished_run import CITIES, write_run
from small_preset import small_preset

from training.baselines.classifier import CachedRows
from training.evaluation.predictions import load_predictions
from training.features.listing import CacheIdentity, CacheListing, ClipRecord
from training.features.store import open_cache
from training.features.writer import open_writer
from training.run.classify import BASELINES_FILE, classify_sets, load_baseline
from vidtag_cli.errors import InputError, UsageError
from vidtag_cli.geo.sphere import haversine_km

CPU = torch.device("cpu")
SEQUENCES, FRAMES = 12, 5
HELD_OUT = ("clip/9", "clip/10", "clip/11")
BASELINES = ("planet", "isns", "geodecoder", "clip_classification", "dino_classification")


def write_cache(folder, rows_per_shard=7):
    """Return a cache of sequences in three cities in turn, whose features tell the city in every branch."""
    names = [list(CITIES)[number % 3] for number in range(SEQUENCES)]
    records = tuple(ClipRecord(f"clip/{n}", f"clip/{n}", city, {"city": city}) for n, city in enumerate(names))
    rng = np.random.default_rng(0)
    latlon = np.repeat([CITIES[name] for name in names], FRAMES, axis=0) + rng.uniform(
        -1e-3, 1e-3, (SEQUENCES * FRAMES, 2)
    )
    listing = CacheListing(records, np.arange(SEQUENCES + 1) * FRAMES, latlon, np.arange(len(latlon), dtype=float))
    width = small_preset().model.feature_dim
    looks = {name: rng.normal(size=width) for name in CITIES}
    features = np.repeat([looks[name] for name in names], FRAMES, axis=0) + 0.1 * rng.normal(size=(len(latlon), width))
    identity = CacheIdentity("made up", "none", listing.sha256(), width)
    with open_writer(folder, identity, listing, rows_per_shard=rows_per_shard) as writer:
        writer.append(features)
    return open_cache(folder)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_learns_cells_and_answers_what_was_held_out(name, tmp_path):
    run, cache = write_run(tmp_path / "run", held_out=HELD_OUT), write_cache(tmp_path / "cache")
    baseline = load_baseline(name, steps=100)
    narrow = dataclasses.replace(baseline, cells=dataclasses.replace(baseline.cells, width=32))
    (path,) = classify_sets(run, narrow, {"trained": cache}, tmp_path / "out", CPU)
    found = load_predictions(path)
    assert found.keys == HELD_OUT
    assert list(found.frames_per_clip()) == [FRAMES] * 3
    error_km = haversine_km(found.predicted_latlon_deg, found.truth_latlon_deg)
    assert np.median(error_km) < 1.0  # cells of level 13 are about a kilometre wide; the cities lie 100 km apart
    assert found.info.gallery == "S2 cells of level 13"


def test_a_finished_classifier_is_kept(tmp_path):
    run, cache = write_run(tmp_path / "run", held_out=HELD_OUT), write_cache(tmp_path / "cache")
    baseline = load_baseline("planet", steps=20)
    (path,) = classify_sets(run, baseline, {"trained": cache}, tmp_path / "out", CPU)
    (head,) = (tmp_path / "out" / "classifiers").glob("*/head.safetensors")
    before = head.stat().st_mtime_ns, path.read_bytes()
    classify_sets(run, baseline, {"trained": cache}, tmp_path / "out", CPU)
    assert (head.stat().st_mtime_ns, path.read_bytes()) == before
    recipe = json.loads((head.parent / "recipe.json").read_text("utf-8"))
    assert recipe["baseline"]["cells"]["levels"] == [13]


def test_what_was_held_out_is_not_learned_from(tmp_path):
    """The only sequence of a city held out: no cell stands for that city."""
    run = write_run(tmp_path / "run", held_out=tuple(f"clip/{n}" for n in range(0, SEQUENCES, 3)))
    cache = write_cache(tmp_path / "cache")
    (path,) = classify_sets(run, load_baseline("planet", steps=20), {"trained": cache}, tmp_path / "out", CPU)
    found = load_predictions(path)
    assert haversine_km(found.predicted_latlon_deg, found.truth_latlon_deg).min() > 50.0


def test_rows_are_read_across_shards_and_caches(tmp_path):
    one, two = write_cache(tmp_path / "one"), write_cache(tmp_path / "two", rows_per_shard=1000)
    rows = CachedRows([(one, np.array([3, 30, 59])), (two, np.array([0, 7]))], slice(2, 6))
    assert len(rows) == 5
    assert rows[:].shape == (5, 4)
    assert np.array_equal(rows[np.array([1, 4])], rows[:][[1, 4]])
    assert np.array_equal(rows[1:3], rows[:][1:3])
    assert np.allclose((rows[:].astype(np.float32) ** 2).mean(axis=1), 1.0, atol=2e-3)  # float16
    assert np.array_equal(rows.latlon_deg()[3], two.listing.latlon_deg[0])


def test_what_makes_no_sense_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no baseline 'planets'"):
        load_baseline("planets")
    assert all(load_baseline(name).cells.levels[-1] == 13 for name in BASELINES)
    assert BASELINES_FILE.is_file()
    run, cache = write_run(tmp_path / "run", held_out=HELD_OUT), write_cache(tmp_path / "cache")
    with pytest.raises(InputError, match="none of other was trained on"):
        classify_sets(run, load_baseline("planet", steps=5), {"other": cache}, tmp_path / "out", CPU)
    everything = tuple(f"clip/{number}" for number in range(SEQUENCES))
    run = write_run(tmp_path / "second", held_out=everything)
    with pytest.raises(InputError, match="nothing to learn cells from"):
        classify_sets(run, load_baseline("planet", steps=5), {"trained": cache}, tmp_path / "out", CPU)
