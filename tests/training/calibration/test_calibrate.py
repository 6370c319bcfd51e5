"""Calibration of real video on held-out clips: what the runtime reads, and whether radii hold what they promise."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from small_training import small_model

from training.calibration.calibrate import calibrate_on_clips, locate_clips, open_torch_gallery
from training.features.clips import ClipBatch
from vidtag_cli.calibration.circles import CLIPS_PER_BIN, clip_quantile, radius_tables
from vidtag_cli.calibration.fit import CalibrationPlan
from vidtag_cli.calibration.paths import PathStep
from vidtag_cli.geo.grid import equal_area_grid
from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.pipeline.calibration import TABLES, UncalibratedRule, UncertaintyRule, read_rule
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


def calibrate(model, gallery, calibration=CLIPS, test=CLIPS, path=None, place_radius_km=4.0 * SPACING_KM):
    parts = clips(calibration, 1), clips(test, 2)
    domain = fit_domain_model(clips(50, 3).features.reshape(-1, WIDTH).astype(np.float32))
    plan = CalibrationPlan(place_radius_km=place_radius_km, path=path)
    return calibrate_on_clips(model, *parts, domain, gallery, plan)


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
    measured = fitted.measured
    assert measured["coverage95_low"] < measured["coverage95"] <= measured["coverage95_high"]
    assert measured["test_clips"] == CLIPS
    interval = f"[{100 * measured['coverage95_low']:.1f}-{100 * measured['coverage95_high']:.1f}, by clip]"
    assert f"{100 * measured['coverage95']:.1f} % {interval}" in fitted.statement


def test_paths_are_measured_as_they_will_be_decoded(model, gallery):
    """The camera moves about 2.5 km between frames; a path at ten times that is measured beside the single frames.

    The model has learned nothing: most of its paths pass through one place only if that is as wide as the box.
    """
    wide_km = 14.0 * SPACING_KM
    found = calibrate(model, gallery, path=PathStep(90.0, SPACING_KM, 1000.0), place_radius_km=wide_km)
    alone = calibrate(model, gallery, place_radius_km=wide_km)
    rule = read_rule(SimpleNamespace(calibration=found, path="x"))
    assert (rule.path.max_speed_km_h, rule.path.doubt_km) == (90.0, SPACING_KM)
    assert list(rule.path.radii.edges) == sorted(set(rule.path.radii.edges))
    low, high = COVERAGE95
    assert low <= found.measured["path_coverage95"] <= high
    assert "With --smooth viterbi and 90 km/h" in found.statement
    unchanged = {name: value for name, value in found.measured.items() if not name.startswith("path_")}
    assert unchanged == alone.measured
    assert "--smooth" not in alone.statement


def test_paths_of_a_model_that_is_never_sure_of_one_locate_nothing(model, gallery):
    found = calibrate(model, gallery, path=PathStep(90.0, SPACING_KM, 1000.0))
    assert found.measured["path_located_share"] == 0.0
    assert "path_coverage95" not in found.measured
    assert "--smooth" not in found.statement
    assert read_rule(SimpleNamespace(calibration=found, path="x")).path is not None


def test_the_conformal_quantile_leaves_room_for_one_more():
    """Of 19 scores the 95 % quantile is the largest, of 39 the second largest."""
    for count, expected in ((19, 18.0), (39, 37.0), (5, 4.0)):
        assert clip_quantile(np.arange(float(count)), np.arange(count), 0.95) == expected


def test_more_doubt_never_promises_more():
    """Three bins whose 95 % errors are 10, 30 and 20: the last two become one, with an error between both."""
    doubt = np.repeat([0.1, 0.2, 0.3], 100)
    errors_km = np.concatenate([np.full(100, 10.0), np.full(100, 30.0), np.full(100, 20.0)])
    tables = radius_tables(TABLES, doubt, errors_km, np.arange(300), np.ones(300, bool), 3)
    assert len(tables[TABLES[0]]) == 1
    assert tables[TABLES[2]] == [10.0, 30.0]
    assert tables[TABLES[1]] == [10.0, 30.0]


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
