"""A bundle's calibration is read as what was measured, or as nothing measured, never as something in between."""

import pytest
from tiny_bundle import write_tiny_bundle
from tiny_geoclip_bundle import UNCALIBRATED, write_tiny_geoclip_bundle

from vidtag_cli.bundle.contract import Calibration
from vidtag_cli.bundle.load import load_bundle
from vidtag_cli.errors import ModelError
from vidtag_cli.pipeline.calibration import UncalibratedRule, UncertaintyRule, read_rule


def test_measured_numbers_give_the_measured_rule(tmp_path):
    rule = read_rule(load_bundle(write_tiny_bundle(tmp_path)))
    assert isinstance(rule, UncertaintyRule)
    assert rule.radii_km(60.0) == (20.0, 200.0)


def test_without_measurements_only_the_models_own_scale_is_left(tmp_path):
    rule = read_rule(load_bundle(write_tiny_geoclip_bundle(tmp_path)))
    assert isinstance(rule, UncalibratedRule)
    assert (rule.posterior_scale, rule.place_radius_km) == (10.0, 25.0)


@pytest.mark.parametrize(("parameters", "message"), [
    (UNCALIBRATED.parameters | {"max_radius95_km": 500.0}, "max_radius95_km is a limit, but nothing was measured"),
    ({"place_radius_km": 25.0}, "posterior_scale must be a number above 0"),
    (UNCALIBRATED.parameters | {"posterior_scale": -1.0}, "posterior_scale must be a number above 0"),
])  # fmt: skip
def test_a_calibration_that_lost_its_tables_is_refused(tmp_path, parameters, message):
    calibration = Calibration(parameters, {}, "text", {})
    with pytest.raises(ModelError, match=message):
        read_rule(load_bundle(write_tiny_geoclip_bundle(tmp_path, calibration=calibration)))


def test_measurements_without_tables_are_refused(tmp_path):
    calibration = Calibration(UNCALIBRATED.parameters, {}, "text", {"coverage95": 0.95})
    with pytest.raises(ModelError, match="max_domain_distance"):
        read_rule(load_bundle(write_tiny_geoclip_bundle(tmp_path, calibration=calibration)))
