from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from vidtag_cli.writers.values import instant_text, radius_text


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
