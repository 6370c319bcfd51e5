"""Absolute time has a stated basis or is not given."""

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from vidtag_cli.errors import UsageError
from vidtag_cli.pipeline.time_basis import at_first_point, choose_time_basis, parse_start_time

NOON = datetime(2024, 5, 17, 12, 0, tzinfo=UTC)


def video(creation=None, apple=None):
    return SimpleNamespace(creation_time=creation, apple_creation_date=apple)


def test_the_user_comes_first():
    basis = choose_time_basis(video(NOON, NOON), NOON + timedelta(hours=1))
    assert (basis.source, basis.start_time_utc) == ("user", NOON + timedelta(hours=1))


def test_apples_date_is_taken_with_its_zone():
    local = NOON.astimezone(timezone(timedelta(hours=3)))
    basis = choose_time_basis(video(NOON, local), None)
    assert (basis.source, basis.start_time_utc) == ("apple_creationdate", NOON)


def test_creation_time_is_never_used():
    basis = choose_time_basis(video(NOON), None)
    assert (basis.source, basis.start_time_utc) == ("none", None)
    assert "zone" in basis.note


@pytest.mark.parametrize("text", ["2024-05-17T09:30:05", "yesterday", "2024-13-01T00:00:00Z"])
def test_a_start_time_without_zone_or_sense_is_wrong_usage(text):
    with pytest.raises(UsageError):
        parse_start_time(text)


@pytest.mark.parametrize("text", ["9999-12-31T23:59:50Z", "9999-12-31T23:59:50-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_year_that_leaves_no_room_for_the_video_is_wrong_usage(text):
    with pytest.raises(UsageError, match="--media-zero .* year"):
        parse_start_time(text, "--media-zero")


def test_a_creation_date_at_the_end_of_time_is_passed_over():
    apple = datetime(9999, 12, 31, 23, 59, tzinfo=timezone(-timedelta(hours=14)))
    assert choose_time_basis(video(apple=apple), None).source == "none"


def test_an_offset_is_turned_into_utc():
    assert parse_start_time("2024-05-17T14:00:00+02:00") == NOON


def test_apples_date_dates_the_recording_and_not_its_first_frame():
    basis = choose_time_basis(video(None, NOON), None)
    late = SimpleNamespace(origin_s=10.0)
    assert at_first_point(basis, late, 13.0).start_time_utc == NOON + timedelta(seconds=3)
    assert at_first_point(basis, late, 10.0) == basis
    users = choose_time_basis(video(NOON, NOON), NOON)
    assert at_first_point(users, late, 13.0) == users


@pytest.mark.parametrize(("year", "is_given"), [(999, False), (1000, True), (9998, True), (9999, False)])
def test_the_first_and_the_last_year_there_may_be(year, is_given):
    """The same years for what the user gives and for what the file claims."""
    instant = datetime(year, 6, 1, tzinfo=UTC)
    basis = choose_time_basis(video(apple=instant), None)
    assert basis.start_time_utc == (instant if is_given else None)
    if is_given:
        assert parse_start_time(instant.isoformat()) == instant
    else:
        with pytest.raises(UsageError, match="give a year from 1000 to 9998"):
            parse_start_time(instant.isoformat())


def test_a_creation_date_without_a_zone_is_no_instant():
    basis = choose_time_basis(video(apple=NOON.replace(tzinfo=None)), None)
    assert (basis.source, basis.note) == ("none", "the file names no time")


def test_without_a_basis_the_first_point_adds_nothing():
    basis = choose_time_basis(video(NOON), None)
    assert at_first_point(basis, SimpleNamespace(origin_s=10.0), 13.0) == basis
