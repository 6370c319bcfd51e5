"""What ties a truth to a video: media times, the video's own date, the user's word, or a guess that is called one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from vidtag_cli.errors import UsageError
from vidtag_cli.evaluation.alignment import align_truth, check_alignment
from vidtag_cli.evaluation.scoring import score_track
from vidtag_cli.evaluation.truth import Truth
from vidtag_cli.track import TimeBasis, Track, TrackPoint

START = datetime(2024, 5, 17, 9, 30, 5, tzinfo=UTC)
FIRST_FRAME_S = 10.0
"""An MPEG transport stream seldom begins at 0."""


def track(basis: TimeBasis = TimeBasis()) -> Track:  # noqa: B008  frozen
    points = tuple(
        TrackPoint(number, FIRST_FRAME_S + number, "ok", 0.0, float(number), 10.0, 20.0, 0.5) for number in range(3)
    )
    return Track("clip.ts", points, "model", basis)


def utc_truth(first: datetime, first_instant: float | None = None) -> Truth:
    instants = first.timestamp() + np.arange(4.0)
    return Truth("utc", instants, np.stack([np.zeros(4), np.arange(4.0)], 1), first_instant=first_instant)


def errors_km(truth: Truth, basis: TimeBasis = TimeBasis(), **options: float) -> np.ndarray:  # noqa: B008
    return score_track(track(basis), truth, **options).errors_km()


@pytest.mark.parametrize("source", ["user", "apple_creationdate"])
def test_the_tracks_own_time_is_that_of_its_first_frame(source: str) -> None:
    """Not that of media time 0, which lies 10 s before it: one meaning of the start in locate and eval."""
    basis = TimeBasis(source, START, "a reason")
    assert np.abs(errors_km(utc_truth(START), basis)).max() == 0.0
    alignment = align_truth(utc_truth(START), track(basis))
    assert alignment.method == source
    assert alignment.media_zero_utc == START - timedelta(seconds=FIRST_FRAME_S)
    assert "2024-05-17T09:30:05.000Z: a reason" in alignment.statement


def test_a_dated_start_is_used_rather_than_guessed() -> None:
    basis = TimeBasis("apple_creationdate", START)
    late = errors_km(utc_truth(START - timedelta(seconds=1)), basis)
    assert late[:2] == pytest.approx([111.2, 111.2], abs=0.1)  # a degree of the equator


def test_without_a_date_the_guess_is_called_one() -> None:
    alignment = align_truth(utc_truth(START), track())
    assert alignment.method == "assumed"
    assert alignment.first_fix_at_s == FIRST_FRAME_S
    assert "assumed" in alignment.statement
    assert "2024-05-17T09:30:05.000Z" in alignment.statement
    assert "--start-time" in alignment.statement


def test_the_guess_begins_with_the_first_entry_though_it_has_no_position() -> None:
    truth = utc_truth(START + timedelta(seconds=1), first_instant=START.timestamp())
    assert errors_km(truth)[1:] == pytest.approx([111.2, 111.2], abs=0.1)


def test_the_users_word_on_the_first_entry_goes_before_a_date() -> None:
    basis = TimeBasis("apple_creationdate", START + timedelta(hours=8))
    assert np.abs(errors_km(utc_truth(START), basis, first_fix_at_s=FIRST_FRAME_S)).max() == 0.0


@pytest.mark.parametrize(("clock", "method"), [("media_time", "media_time"), ("frame", "frame_index")])
def test_other_clocks_need_no_alignment_and_refuse_one(clock: str, method: str) -> None:
    truth = Truth(clock, np.arange(2.0), np.zeros((2, 2)))  # type: ignore[arg-type]
    basis = TimeBasis("apple_creationdate", START)
    assert align_truth(truth, track(basis)).method == method
    check_alignment(truth, None, None)
    with pytest.raises(UsageError, match="--first-fix-at-s"):
        check_alignment(truth, 1.0, None)
    with pytest.raises(UsageError, match="--start-time"):
        check_alignment(truth, None, START)
    check_alignment(utc_truth(START), 1.0, None)
