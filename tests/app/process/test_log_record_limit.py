from __future__ import annotations

import logging

import pytest

from riptide.process.log_record_limit import KINDS, LIBRARY, RECORDS, WINDOW_S, LogLimit


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limit(clock: Clock) -> LogLimit:
    return LogLimit(clock)


def record(
    text: str = "client %s left",
    level: int = logging.WARNING,
    name: str = "riptide.stream",
    **extra: object,
) -> logging.LogRecord:
    return logging.getLogger(name).makeRecord(name, level, "", 1, text, ("x",), None, extra=extra)


def test_a_flood_is_cut_and_the_next_minute_says_how_much_was(
    limit: LogLimit, clock: Clock
) -> None:
    assert sum(limit.filter(record()) for _ in range(RECORDS + 500)) == RECORDS
    clock.now += WINDOW_S
    first, second = record(), record()
    assert limit.filter(first)
    assert limit.filter(second)
    assert vars(first)["held_back"] == 500
    assert "held_back" not in vars(second)


def test_what_was_held_back_is_said_of_the_minute_before_only(
    limit: LogLimit, clock: Clock
) -> None:
    for _ in range(RECORDS + 500):
        limit.filter(record())
    clock.now += WINDOW_S
    limit.filter(record("another kind"))
    clock.now += WINDOW_S
    late = record()
    assert limit.filter(late)
    assert "held_back" not in vars(late)


def test_a_flood_of_one_kind_hides_no_other(limit: LogLimit) -> None:
    def failed(error: str) -> logging.LogRecord:
        told = record(event="stream_error")
        vars(told)["stream.error"] = error
        return told

    assert sum(limit.filter(failed("slow_consumer")) for _ in range(RECORDS + 1)) == RECORDS
    assert limit.filter(failed("log_failure"))
    assert limit.filter(record(level=logging.ERROR))
    assert limit.filter(record("the disk is full"))


def test_what_is_for_debugging_passes(limit: LogLimit) -> None:
    assert all(limit.filter(record(level=logging.DEBUG)) for _ in range(10 * RECORDS))


def test_the_sdk_is_heard_once_a_minute(limit: LogLimit, clock: Clock) -> None:
    name = f"{LIBRARY}.sdk._shared_internal"
    assert [limit.filter(record(f"text {n}", name=name)) for n in range(3)] == [True, False, False]
    clock.now += WINDOW_S
    assert limit.filter(record(name=name))


def test_handlers_that_share_a_limit_decide_alike_and_count_once(limit: LogLimit) -> None:
    records = [record() for _ in range(RECORDS + 1)]
    first = [limit.filter(each) for each in records]
    assert [limit.filter(each) for each in records] == first
    assert first == [True] * RECORDS + [False]


def test_kinds_without_end_are_kinds_of_their_logger(limit: LogLimit) -> None:
    for number in range(KINDS):
        assert limit.filter(record(f"text {number}"))
    passed = sum(limit.filter(record(f"more {number}")) for number in range(10 * RECORDS))
    assert passed == RECORDS
    assert len(limit._counts) <= KINDS + 1
