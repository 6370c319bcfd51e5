"""What is said of a calibration, and what a bundle keeps of footage that was changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_bundle import write_tiny_bundle

from vidtag_cli.__main__ import main
from vidtag_cli.bundle.bundle_json import read_bundle_json
from vidtag_cli.bundle.contract import Calibration, ChangeCoverage
from vidtag_cli.calibration.statement import NOTHING_CHANGED, calibrated_statement, with_changes

MEASURED = {
    "located_share": 0.6, "coverage50": 0.5, "coverage95": 0.94, "coverage95_low": 0.9, "coverage95_high": 0.97,
}  # fmt: skip
TABLES = {"posterior_radius_edges_km": [], "radius50_km": [10.0], "radius95_km": [100.0]}
NUMBERS = {
    "posterior_scale": 10.0, "place_radius_km": 100.0, "max_domain_distance": 5.0, "max_disagreement_km": 300.0,
    "max_radius95_km": 500.0,
}  # fmt: skip
GREY = ChangeCoverage("grey", "viterbi", 100, 1600, 0.03, 0.9, 0.75, 0.98)
DARK = ChangeCoverage("dark", "none", 100, 1600, 0.0)


def calibration() -> Calibration:
    statement = calibrated_statement((30, 40), MEASURED, "flights", None, "all are alike")
    return Calibration(NUMBERS, TABLES, statement, MEASURED)


def test_a_circle_that_was_not_measured_for_such_footage_says_so() -> None:
    statement = calibration().statement
    assert "94.0 % [90.0-97.0, by clip] of the located frames (60 % of all)" in statement
    assert statement.endswith(NOTHING_CHANGED)
    changed = with_changes(calibration(), [GREY, DARK, GREY]).statement
    assert "(grey, dark)" in changed
    assert "For footage of any other kind it was not measured." in changed
    assert NOTHING_CHANGED not in changed


def test_a_bundle_keeps_and_shows_what_was_measured_of_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_tiny_bundle(tmp_path, calibration=with_changes(calibration(), [GREY, DARK]))
    assert read_bundle_json(bundle).calibration.changes == (GREY, DARK)
    assert main(["models", "info", str(bundle)]) == 0
    shown = capsys.readouterr().out
    assert "frame by frame: 60.0 % of the frames located, 95 % circle holds 94.0 % of them [90.0-97.0]" in shown
    assert "grey, --smooth viterbi: 3.0 % of the frames located, 95 % circle holds 90.0 % of them [75.0-98.0]" in shown
    assert "dark: 0.0 % of the frames located (100 clips, 1600 frames)" in shown


def test_a_bundle_without_changes_is_what_it_was(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path, calibration=calibration())
    assert "changes" not in json.loads((bundle / "bundle.json").read_text())["calibration"]
    assert read_bundle_json(bundle).calibration.changes == ()
