"""Positions that no camera can have had, and books that add up."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from scan_books import unaccounted

from training.data.ledger import EXAMPLES, Ledger
from training.data.positions import parsed_number, position_fault, truth_of_fixes
from vidtag_cli.errors import InputError
from vidtag_cli.evaluation.fix import Fix


@pytest.mark.parametrize(
    ("lat_deg", "lon_deg", "fault"),
    [
        (35.0, 139.0, None),
        (90.0, 180.0, None),
        (0.0, 20.0, None),
        (20.0, 0.0, None),
        (0.0, 0.0, "position_null_island"),
        (-1e-9, 0.0, "position_null_island"),
        (90.1, 0.0, "position_out_of_range"),
        (0.0, -180.1, "position_out_of_range"),
        (math.nan, 0.0, "position_not_finite"),
        (0.0, math.inf, "position_not_finite"),
    ],
)
def test_faults(lat_deg: float, lon_deg: float, fault: str | None) -> None:
    assert position_fault(lat_deg, lon_deg) == fault


@pytest.mark.parametrize("value", [None, "", "east", [], {}, True, "1e999x", 10**400])
def test_what_is_no_number_is_nan(value: object) -> None:
    assert math.isnan(parsed_number(value))


def test_truth_wraps_and_orders() -> None:
    ledger = Ledger()
    truth = truth_of_fixes("media_time", [Fix(2.0, 1.0, 180.0, "b"), Fix(1.0, 1.0, 179.0, "a")], "track", ledger)
    assert truth.instants.tolist() == [1.0, 2.0]
    assert truth.latlon_deg.tolist() == [[1.0, 179.0], [1.0, -180.0]]
    assert ledger.report("", Path()).count("fixes_unordered") == 1


def test_track_without_a_usable_position_is_refused() -> None:
    ledger = Ledger()
    with pytest.raises(InputError, match="track: holds no usable position"):
        truth_of_fixes("media_time", [Fix(0.0, 0.0, 0.0, "a")], "track", ledger)
    assert unaccounted(ledger.report("", Path())) == {}


def test_books_show_what_got_lost_silently() -> None:
    ledger = Ledger()
    ledger.find("frame", 10)
    ledger.keep("frame", 6)
    ledger.drop("frame", "reason", "one", 3)
    ledger.note("frame", "only told", "two", 5)
    report = ledger.report("name", Path("root"))
    assert unaccounted(report) == {"frame": 1}
    assert (report.count("reason"), report.count("reason", "video")) == (3, 0)


def test_a_finding_quotes_the_first_few() -> None:
    ledger = Ledger()
    for number in range(20):
        ledger.drop("frame", "reason", str(number))
    ledger.drop("frame", "another", "nothing", 0)
    (found,) = ledger.report("name", Path()).findings
    assert (found.count, found.examples) == (20, tuple(map(str, range(EXAMPLES))))
