from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from vidtag_cli.writers.values import instant_text, radius_text, size_text


@pytest.mark.parametrize(
    ("microsecond", "expected"),
    [(0, "09:30:59.000Z"), (499, "09:30:59.000Z"), (500, "09:30:59.001Z"), (999_500, "09:31:00.000Z")],
)
def test_instants_have_rounded_milliseconds(microsecond, expected):
    instant = datetime(2024, 5, 17, 9, 30, 59, microsecond, tzinfo=UTC)
    assert instant_text(instant) == f"2024-05-17T{expected}"


def test_instants_are_written_in_utc():
    instant = datetime(2024, 1, 1, 5, 45, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    assert instant_text(instant) == "2024-01-01T00:00:00.000Z"


def test_an_instant_without_zone_is_refused():
    with pytest.raises(ValueError, match="no time zone"):
        instant_text(datetime(2024, 1, 1))


def test_large_numbers_keep_their_digits():
    assert radius_text(20_015_115.04) == "20015115.0"


@pytest.mark.parametrize(
    ("radius_m", "text"),
    [(0.0, "0 m"), (0.1, "1 m"), (950.0, "950 m"), (999.0, "999 m"), (999.1, "1.0 km"), (2_400.0, "2.4 km")]
    + [(2_400.1, "2.5 km"), (9_900.0, "9.9 km"), (9_900.1, "10 km"), (10_001.0, "11 km"), (20_015_115.0, "20016 km")],
)
def test_a_size_has_the_unit_that_fits_and_is_never_too_small(radius_m, text):
    assert size_text(radius_m) == text


def test_a_size_promises_no_less_than_the_number():
    for radius_m in (k * 7.31 for k in range(3_000)):
        number, unit = size_text(radius_m).split()
        assert radius_m - 1e-6 <= float(number) * {"m": 1.0, "km": 1000.0}[unit] <= radius_m * 1.101 + 1.0
