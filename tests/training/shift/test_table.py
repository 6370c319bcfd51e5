"""The table counts what was located and what lay inside, by clip."""

import math

import numpy as np
import pytest

from training.config_files import load_config
from training.flyover.flights import near_land
from training.shift.changes import KINDS
from training.shift.table import measure, table_rows, write_table
from vidtag_cli.bundle.load import load_bundle
from vidtag_cli.errors import UsageError
from vidtag_cli.track import Track, TrackPoint

RECIPE = load_config("flyover").flights


def point(number, km_north, radius50_km=None, radius95_km=None):
    if radius95_km is None:
        return TrackPoint(number, float(number), "abstained", abstain_reason="made up")
    lat = math.degrees(km_north / 6371.0088)
    return TrackPoint(number, float(number), "ok", lat, 0.0, 1000.0 * radius50_km, 1000.0 * radius95_km)


def test_shares_and_errors_are_of_the_located():
    points = (point(0, 10.0, 20.0, 50.0), point(1, 30.0, 20.0, 50.0), point(2, 60.0, 20.0, 50.0), point(3, 0.0))
    result = measure(Track("film", points, "m"), np.zeros((2, 2, 2)), seed=0)
    assert result.frames == 4 and result.located.value == 0.75
    assert result.coverage95.value == pytest.approx(2 / 3) and result.coverage50.value == pytest.approx(1 / 3)
    assert result.median_km == pytest.approx(30.0, rel=1e-4)
    assert result.located.low <= 0.75 <= result.located.high == 1.0


def test_nothing_located_has_no_coverage():
    result = measure(Track("film", (point(0, 0.0), point(1, 0.0)), "m"), np.zeros((1, 2, 2)), seed=0)
    assert result.located.value == 0.0 and math.isnan(result.coverage95.value) and math.isnan(result.median_km)


def test_the_rows_are_what_they_are_called():
    rows, rng = table_rows(), np.random.default_rng(0)
    assert set(KINDS) < set(rows)
    assert (rows["footprint_300_km"].draw(RECIPE, 3, rng).footprint_km == 300.0).all()
    assert (rows["poles"].draw(RECIPE, 3, rng).latlon_deg[..., 0] >= 75.0).all()
    hovering = rows["hovering"].draw(RECIPE, 2, rng)
    assert np.ptp(hovering.latlon_deg, axis=1).max() < 1e-3 and np.ptp(hovering.heading_deg, axis=1).max() < 0.1
    sea = rows["sea"].draw(RECIPE, 4, rng)
    assert len(sea) == 4 and not near_land(sea.latlon_deg.reshape(-1, 2), 800.0).any()


def test_a_row_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match="nosuch"):
        write_table("flyover", tmp_path / "table.md", load_config("flyover"), 1, 0, ["nosuch"], tmp_path)


def test_rows_are_kept_and_go_into_the_bundle(tmp_path, monkeypatch):
    """The real model: flights of a made-up one are not of its size. Two flights, filmed once for both rows."""
    config = load_config("flyover")
    first = write_table("flyover", tmp_path / "one.md", config, 2, 0, ["none", "grey"], tmp_path / "rows")
    assert "| grey | 0.0 % (0-0) | - | - | - |" in first
    monkeypatch.setattr("training.shift.table.locate_row", None)  # nothing is located twice
    out = tmp_path / "measured.vidtag"
    again = write_table("flyover", tmp_path / "two.md", config, 2, 0, ["none", "grey"], tmp_path / "rows", out)
    assert again == first == (tmp_path / "two.md").read_text()
    changes = load_bundle(out).calibration.changes
    assert [(change.change, change.smoothing, change.frames) for change in changes] == [
        ("grey", "none", 32), ("grey", "viterbi", 32),
    ]  # fmt: skip
    assert changes[0].located_share == 0.0 and changes[0].coverage95 is None
