"""The hand-over between two stages: order, bounds, exceptions and clean ends, without any clock."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from vidtag_cli.pipeline.prefetch import run_ahead


def counting(made: list[int], count: int, closed: list[str] | None = None) -> Iterator[int]:
    try:
        for number in range(count):
            made.append(number)
            yield number
    finally:
        if closed is not None:
            closed.append(threading.current_thread().name)


def test_items_come_in_order_and_all() -> None:
    with run_ahead(counting([], 100), 3) as items:
        assert list(items) == list(range(100))


def test_the_work_is_done_in_another_thread_and_ended_there() -> None:
    closed: list[str] = []
    with run_ahead(counting([], 3, closed)) as items:
        assert list(items) == [0, 1, 2]
    assert closed == ["run-ahead"]


def test_it_runs_ahead_while_nothing_is_taken_but_no_further_than_allowed() -> None:
    made: list[int] = []
    third = threading.Event()

    def source() -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            if number == 2:
                third.set()
            yield number

    with run_ahead(source(), 2) as items:
        assert third.wait(30.0)  # two wait and one is held: nobody has taken any
        assert next(items) == 0
    assert len(made) <= 1 + 2 + 1 + 1  # taken, waiting, held, and one that took the freed place


def test_items_before_an_exception_are_delivered() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise KeyError

    with run_ahead(failing()) as items:
        assert next(items) == 1
        with pytest.raises(KeyError):
            next(items)


def test_a_consumer_that_stops_early_ends_the_producer() -> None:
    closed: list[str] = []
    before = threading.active_count()
    with run_ahead(counting([], 10**9, closed)) as items:
        assert next(items) == 0
    assert closed == ["run-ahead"]
    assert threading.active_count() == before


def test_an_exception_of_the_consumer_ends_the_producer() -> None:
    closed: list[str] = []
    with pytest.raises(RuntimeError, match="full disk"), run_ahead(counting([], 10**9, closed)) as items:
        next(items)
        raise RuntimeError("full disk")
    assert closed == ["run-ahead"]
