"""Calibration of real video on held-out clips: what the runtime reads, and whether radii hold what they promise."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from small_training import small_model

from training.calibration import CLIPS_PER_BIN, calibrate_on_clips, locate_clips, open_torch_gallery
from training.clips import ClipBatch
from vidtag_cli.geo.grid import equal_area_grid
from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.pipeline.calibration import UncalibratedRule, UncertaintyRule, read_rule
from vidtag_cli.pipeline.domain import fit_domain_model

FRAMES, WIDTH, SPACING_KM = 4, 24, 40.0
CLIPS = 150
# 150 clips of 4 frames that agree among themselves: the share within the 95 % circle of other clips varies by some 3 %.
COVERAGE95 = (0.88, 1.0)


def clips(count, seed):
    """Return clips in a box of five degrees, so that even a model that learned nothing is never far off."""
    rng = np.random.default_rng(seed)
    start = np.stack([rng.uniform(40.0, 45.0, count), rng.uniform(5.0, 10.0, count)], -1)
    latlon = start[:, None] + np.arange(FRAMES)[:, None] * 0.02
    project = np.random.default_rng(0).normal(size=(2, WIDTH))
    features = np.sin(latlon @ project) + rng.normal(0.0, 0.1, (count, FRAMES, WIDTH))
    return ClipBatch(features.astype(np.float16), latlon)


@pytest.fixture(scope="module")
def model():
    return small_model().eval()


@pytest.fixture(scope="module")
def gallery(model, tmp_path_factory):
    places = equal_area_grid(SPACING_KM, south_deg=39.0, west_deg=4.0, north_deg=46.0, east_deg=11.0)
    return open_torch_gallery(model, places, tmp_path_factory.mktemp("calibration") / "gallery")


def calibrate(model, gallery, calibration=CLIPS, test=CLIPS):
    parts = clips(calibration, 1), clips(test, 2)
    domain = fit_domain_model(clips(50, 3).features.reshape(-1, WIDTH).astype(np.float32))
    return calibrate_on_clips(model, *parts, domain, gallery, SPACING_KM)


@pytest.fixture(scope="module")
def fitted(model, gallery):
    return calibrate(model, gallery)


def test_the_runtime_takes_the_calibration(fitted):
    rule = read_rule(SimpleNamespace(calibration=fitted, path="x"))
    assert isinstance(rule, UncertaintyRule)
    assert rule.place_radius_km == 4.0 * SPACING_KM
    json.dumps(dataclasses.asdict(fitted), allow_nan=False)


def test_radii_hold_what_they_promise_on_clips_that_took_no_part(fitted):
    low, high = COVERAGE95
    assert low <= fitted.measured["coverage95"] <= high
    assert fitted.measured["coverage50"] < fitted.measured["coverage95"]
    assert 0.8 < fitted.measured["located_share"] <= 1.0
    assert fitted.measured["test_frames"] == CLIPS * FRAMES
    assert f"{100 * fitted.measured['coverage95']:.1f} %" in fitted.statement


def test_too_few_clips_leave_the_model_uncalibrated(model, gallery):
    for counts in ((CLIPS_PER_BIN - 1, CLIPS), (CLIPS, CLIPS_PER_BIN - 1), (0, 0)):
        found = calibrate(model, gallery, *counts)
        assert not found.is_measured
        assert f"{counts[0]} held-out sequences to fit on and {counts[1]} to measure on are too few" in found.statement
        assert isinstance(read_rule(SimpleNamespace(calibration=found, path="x")), UncalibratedRule)


def test_places_come_from_the_gallery(model, gallery):
    found = locate_clips(model, clips(20, 5), gallery)
    assert found.latlon_deg.shape == found.phase_one_latlon_deg.shape == (20, FRAMES, 2)
    nearest_km = haversine_km(found.latlon_deg.reshape(-1, 1, 2), gallery.latlon_deg[None]).min(axis=1)
    assert nearest_km.max() == pytest.approx(0.0, abs=1e-6)
