"""The tables of the demo model: every step of the program on every subset, and what the bundle keeps of them."""

import numpy as np
import pytest
from small_training import SmallClips, small_model

from training.calibration.calibrate import locate_clips, open_torch_gallery
from training.config_files import load_config
from training.flyover.build import flyover_plan
from training.flyover.evaluate import REGIONS, measure
from training.flyover.features import FeatureStore
from training.flyover.imagery import STYLES
from training.flyover.results import measure_steps, results_markdown, results_metrics
from vidtag_cli.calibration.paths import PathStep
from vidtag_cli.geo.grid import equal_area_grid

STEP = PathStep(180_000.0, 25.0, 1.0)
STEPS = ["tempgeo", "georefiner", "path"]


@pytest.fixture(scope="module")
def model():
    return small_model().eval()


@pytest.fixture(scope="module")
def gallery(model, tmp_path_factory):
    return open_torch_gallery(model, equal_area_grid(500.0), tmp_path_factory.mktemp("results") / "gallery", 250_000.0)


def store(seed):
    clips = SmallClips()
    chosen = np.random.default_rng(seed).permutation(len(clips))[:12]
    return FeatureStore(clips.features[chosen], clips.latlon_deg[chosen], np.arange(12) % 2)


@pytest.fixture(scope="module")
def stores():
    return {name: store(seed) for seed, name in enumerate(("test", *REGIONS))}


@pytest.fixture(scope="module")
def results(model, stores, gallery):
    return measure_steps(model, stores, gallery, 20.0, STEP, 100.0)


def test_every_step_is_measured_on_every_subset(results, model, stores, gallery):
    assert list(results) == ["test", *STYLES, *REGIONS]
    assert all(list(steps) == STEPS for steps in results.values())
    assert results["blue_marble"]["path"].clips == 6
    located = locate_clips(model, stores["fiji"], gallery)
    assert results["fiji"]["tempgeo"] == measure(stores["fiji"], located.phase_one_latlon_deg)
    assert results["fiji"]["georefiner"] == measure(stores["fiji"], located.latlon_deg)


def test_the_tables_say_what_was_measured(results):
    text = results_markdown(results)
    assert text.count("\n## ") + 1 == len(results)
    found = results["test"]["path"]
    assert f"| path | 12 | {found.median_km:.1f} (" in text


def test_the_bundle_keeps_the_metrics_of_all_test_flights(results):
    metrics = results_metrics(results)
    assert metrics["test_flights"] == 12.0
    assert metrics["test_median_km"] == results["test"]["georefiner"].median_km
    assert metrics["test_path_share_within_100_km"] == results["test"]["path"].share_within["100"]
    assert all(np.isfinite(value) for value in metrics.values())


def test_the_plan_follows_the_flights():
    """A camera that moves 50 km between frames a second apart; the doubt about a step is one step of the gallery."""
    plan = flyover_plan(load_config("flyover").flight_recipe(), 25.0)
    assert plan.path == STEP
    step_km = plan.path.max_speed_km_h * plan.path.frame_interval_s / 3600.0
    assert step_km == pytest.approx(50.0)
