"""A bundle's calibration is read as what was measured, or as nothing measured, never as something in between."""

import dataclasses
import math
from types import SimpleNamespace

import pytest
from tiny_bundle import write_tiny_bundle
from tiny_geoclip_bundle import UNCALIBRATED, write_tiny_geoclip_bundle

from vidtag_cli.bundle.contract import Calibration
from vidtag_cli.bundle.load import load_bundle
from vidtag_cli.errors import ModelError
from vidtag_cli.evaluation.metrics import THRESHOLDS_KM
from vidtag_cli.pipeline.calibration import (
    LIMITS,
    SCALES,
    TABLES,
    MeasuredPath,
    RadiusTable,
    UncalibratedRule,
    UncertaintyRule,
    read_cell_area_km2,
    read_rule,
)


def test_measured_numbers_give_the_measured_rule(tmp_path):
    rule = read_rule(load_bundle(write_tiny_bundle(tmp_path)))
    assert isinstance(rule, UncertaintyRule)
    assert rule.radii.radii_km(60.0) == (20.0, 200.0)
    assert rule.path is None


def test_a_doubt_at_an_edge_is_in_the_bin_above_it():
    table = RadiusTable((1.0, 2.0), (10.0, 20.0, 30.0), (100.0, 200.0, 300.0))
    radii = [table.radii_km(doubt) for doubt in (0.0, 1.0, 1.5, 2.0, math.inf)]
    assert radii == [(10.0, 100.0), (20.0, 200.0), (20.0, 200.0), (30.0, 300.0), (30.0, 300.0)]
    with pytest.raises(ValueError, match="no number"):
        table.radii_km(math.nan)


PATH_NUMBERS = {"path_max_speed_km_h": 90.0, "path_doubt_km": 25.0, "path_posterior_scale": 14.0}
PATH_TABLES = {"path_doubt_edges": [0.5], "path_radius50_km": [1.0, 2.0], "path_radius95_km": [3.0, 4.0]}


def with_path(folder, numbers, tables):
    """Return the small bundle with more in its calibration."""
    plain = load_bundle(write_tiny_bundle(folder / "plain")).calibration
    more = Calibration(plain.parameters | numbers, plain.tables | tables, plain.statement, plain.measured)
    return load_bundle(write_tiny_bundle(folder / "more", calibration=more))


def test_measured_paths_are_read_beside_the_frames(tmp_path):
    rule = read_rule(with_path(tmp_path, PATH_NUMBERS, PATH_TABLES))
    assert rule.path == MeasuredPath(90.0, 25.0, 14.0, RadiusTable((0.5,), (1.0, 2.0), (3.0, 4.0)))
    assert rule.path.radii.radii_km(0.2) == (1.0, 3.0)
    assert rule.path.radii.radii_km(0.7) == (2.0, 4.0)


@pytest.mark.parametrize(("numbers", "tables", "message"), [
    (PATH_NUMBERS, {}, "path_doubt_edges: rising edges"),
    ({}, PATH_TABLES, "path_max_speed_km_h must be a number above 0"),
    (PATH_NUMBERS, PATH_TABLES | {"path_radius50_km": [9.0, 9.0]}, "path_radius50_km: a 50 % radius must lie between"),
    (PATH_NUMBERS, PATH_TABLES | {"path_doubt_edges": [0.5, 0.4]}, "path_doubt_edges: rising edges"),
    (PATH_NUMBERS, {"path_doubt_edges": [0.5, 0.4], "path_radius50_km": [1.0] * 3, "path_radius95_km": [3.0] * 3},
     "path_doubt_edges: rising edges"),
    (PATH_NUMBERS, PATH_TABLES | {"path_radius50_km": [1.0, 9.0]}, "path_radius50_km: a 50 % radius must lie between"),
])  # fmt: skip
def test_half_a_measured_path_is_refused(tmp_path, numbers, tables, message):
    with pytest.raises(ModelError, match=message):
        read_rule(with_path(tmp_path, numbers, tables))


@pytest.mark.parametrize(("name", "values"), [
    ("posterior_radius_edges_km", [math.nan]), ("posterior_radius_edges_km", [math.inf]),
    ("radius50_km", [math.nan, 20.0]), ("radius95_km", [100.0, math.nan]), ("radius95_km", [100.0, math.inf]),
])  # fmt: skip
def test_a_table_of_what_is_no_number_is_refused(tmp_path, name, values):
    """JSON has no such numbers; whatever else a table comes from, it must not switch a limit off."""
    bundle = load_bundle(write_tiny_bundle(tmp_path))
    calibration = dataclasses.replace(bundle.calibration, tables={**bundle.calibration.tables, name: values})
    contract = dataclasses.replace(bundle.contract, calibration=calibration)
    with pytest.raises(ModelError, match=r"calibration\.tables\."):
        read_rule(dataclasses.replace(bundle, contract=contract))


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
def test_a_number_that_is_no_limit_is_refused(tmp_path, value):
    bundle = load_bundle(write_tiny_bundle(tmp_path))
    parameters = {**bundle.calibration.parameters, "max_domain_distance": value}
    calibration = dataclasses.replace(bundle.calibration, parameters=parameters)
    contract = dataclasses.replace(bundle.contract, calibration=calibration)
    with pytest.raises(ModelError, match="max_domain_distance"):
        read_rule(dataclasses.replace(bundle, contract=contract))


def test_among_other_places_no_radius_holds_and_everything_else_does():
    table = RadiusTable((), (1.0,), (2.0,))
    frames = UncertaintyRule(20.0, 0.5, 1.0, 500.0, 1000.0, table)
    assert frames.among_other_places() == UncertaintyRule(20.0, 0.5, 1.0, 500.0, 1000.0, None)
    path = UncertaintyRule(20.0, 0.5, 1.0, 500.0, 1000.0, table, MeasuredPath(90.0, 25.0, 14.0, table))
    assert path.among_other_places().path == MeasuredPath(90.0, 25.0, 14.0, None)


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


@pytest.mark.parametrize("name", ["posterior_scale", "place_radius_km", "max_domain_distance", "max_radius95_km"])
@pytest.mark.parametrize("number", [1e11, 5e-324])
def test_a_number_no_measurement_gives_is_refused_by_its_name(tmp_path, name, number):
    plain = load_bundle(write_tiny_bundle(tmp_path / "plain")).calibration
    changed = Calibration(plain.parameters | {name: number}, plain.tables, plain.statement, plain.measured)
    bundle = load_bundle(write_tiny_bundle(tmp_path / "changed", calibration=changed))
    with pytest.raises(ModelError, match=rf"calibration\.parameters\.{name}: expected a number from"):
        read_rule(bundle)


@pytest.mark.parametrize(("number", "is_area"), [(625.0, True), (-1.0, False), (0.0, False), (1e11, False)])
def test_the_area_of_a_place_is_read_where_it_is_one(tmp_path, number, is_area):
    plain = load_bundle(write_tiny_bundle(tmp_path / "plain"))
    assert read_cell_area_km2(plain) is None
    more = plain.calibration.parameters | {"default_cell_area_km2": number}
    changed = Calibration(more, plain.calibration.tables, "", {})
    bundle = load_bundle(write_tiny_bundle(tmp_path / "changed", calibration=changed))
    if is_area:
        assert read_cell_area_km2(bundle) == number
        return
    with pytest.raises(ModelError, match="default_cell_area_km2"):
        read_cell_area_km2(bundle)


@pytest.mark.parametrize(("tables", "is_right"), [
    (([1.0, 1.0], [0.0, 2.0, 3.0], [1.0, 2.0, 3.0]), True),
    (([1.0], [1.0, 2.0], [1.0]), False),
    (([1.0], [1.0], [1.0, 2.0]), False),
    (([1.0], [1.0, 5.0], [1.0, 2.0]), False),
    (([], [-0.1], [1.0]), False),
    (([], [1.0], [math.inf]), False),
    (([], [math.nan], [1.0]), False),
])  # fmt: skip
def test_a_table_has_a_finite_radius_more_than_edges(tables, is_right):
    """Bundles in memory may hold what no JSON does; the strict reader of files is another guard."""
    bundle = in_memory(dict(zip(TABLES, tables, strict=True)))
    if is_right:
        assert read_rule(bundle).radii == RadiusTable(*map(tuple, tables))
    else:
        with pytest.raises(ModelError, match="calibration.tables"):
            read_rule(bundle)


@pytest.mark.parametrize("value", [0.0, math.inf, math.nan, None])
def test_a_scale_is_a_finite_number_above_0(value):
    with pytest.raises(ModelError, match="calibration.parameters.place_radius_km"):
        read_rule(in_memory({}, place_radius_km=value))


@pytest.mark.parametrize(("name", "most"), [("posterior_scale", 1e4), ("place_radius_km", 1e9)])
def test_the_ends_of_the_range_of_a_number_belong_to_it(name, most):
    tables = {TABLES[1]: [1.0], TABLES[2]: [1.0]}
    for number in (1e-9, most):
        assert getattr(read_rule(in_memory(tables, **{name: number})), name) == number
    for number in (0.9e-9, 1.00001 * most):
        with pytest.raises(ModelError, match=f"calibration.parameters.{name}: expected a number from 1e-09 to"):
            read_rule(in_memory(tables, **{name: number}))


def test_a_scale_may_be_small():
    assert read_rule(in_memory({TABLES[1]: [1.0], TABLES[2]: [1.0]}, place_radius_km=0.5)).place_radius_km == 0.5


def test_a_doubt_at_an_edge_takes_the_radius_above_it():
    table = RadiusTable((1.0, 2.0), (10.0, 20.0, 30.0), (11.0, 21.0, 31.0))
    assert [table.radii_km(doubt)[0] for doubt in (0.0, 0.9, 1.0, 1.9, 2.0, 9.0)] == [10, 10, 20, 20, 30, 30]


def test_among_other_places_no_measured_radius_is_left():
    radii = RadiusTable((), (1.0,), (2.0,))
    rule = UncertaintyRule(1.0, 2.0, 3.0, 4.0, 5.0, radii)
    assert rule.among_other_places() == UncertaintyRule(1.0, 2.0, 3.0, 4.0, 5.0, None)
    with_path = UncertaintyRule(1.0, 2.0, 3.0, 4.0, 5.0, radii, MeasuredPath(1.0, 2.0, 3.0, radii))
    assert with_path.among_other_places().path == MeasuredPath(1.0, 2.0, 3.0, None)


def test_the_coarsest_answer_names_a_continent():
    """2,500 km is the paper's threshold of a continent."""
    assert UncalibratedRule(1.0, 1.0).max_radius50_km == THRESHOLDS_KM[-1] == 2500.0


def in_memory(tables, **numbers):
    parameters = dict.fromkeys((*SCALES, *LIMITS), 1.0) | numbers
    return SimpleNamespace(path="x", calibration=Calibration(parameters, tables, "text", {"coverage95": 0.95}))
