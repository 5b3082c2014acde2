from __future__ import annotations

from riptide.storage.log_watch import (
    LIMIT_S,
    MEMORY_S,
    AppendsUnderWay,
    ThreadWatch,
    UnorderedAppends,
)
from riptide_telemetry.testing import ManualClock


def test_work_that_takes_too_long_is_a_reason_as_long_as_it_lasts() -> None:
    clock = ManualClock()
    watch = ThreadWatch("a read", clock.seconds)
    with watch.busy():
        clock.advance(LIMIT_S)
        assert (watch.age_s(), watch.reason()) == (LIMIT_S, None)
        clock.advance(1)
        assert watch.reason() == "a read has taken 6 s"
    assert (watch.age_s(), watch.reason()) == (0, None)


def test_a_failure_is_a_reason_until_it_is_taken_back() -> None:
    watch = ThreadWatch("a read")
    watch.failure = "disk I/O error"
    assert watch.reason() == "disk I/O error"
    watch.failure = None
    assert watch.reason() is None


def test_the_age_is_that_of_the_oldest_append_that_is_not_answered() -> None:
    clock = ManualClock()
    appends = AppendsUnderWay(clock.seconds)
    assert (appends.age_s(), appends.reason()) == (0, None)
    for _ in range(3):
        appends.begin()
        clock.advance(2)
    assert appends.reason() == "an append has waited 6 s"
    appends.end(2)
    assert (appends.age_s(), appends.reason()) == (2, None)
    appends.end(1)
    assert appends.age_s() == 0


def test_a_stall_is_the_time_in_which_appends_wait_and_none_is_answered() -> None:
    clock = ManualClock()
    appends = AppendsUnderWay(clock.seconds)
    clock.advance(100)
    assert appends.longest_stall_s() == 0
    for _ in range(3):
        appends.begin()
        clock.advance(1)
    assert appends.longest_stall_s() == 3
    appends.end(1)
    clock.advance(2)
    appends.end(2)
    clock.advance(20)
    assert appends.longest_stall_s() == 3


def test_a_stall_is_remembered_for_a_minute_and_the_next_longest_after_it() -> None:
    clock = ManualClock()
    appends = AppendsUnderWay(clock.seconds)
    for stall_s in (5, 1, 3, 2):
        appends.begin()
        clock.advance(stall_s)
        appends.end(1)
    clock.advance(MEMORY_S - 6)
    assert appends.longest_stall_s() == 5
    clock.advance(1)
    assert appends.longest_stall_s() == 3
    clock.advance(6)
    assert appends.longest_stall_s() == 0


def test_appends_that_are_answered_in_any_order_are_as_old_as_the_oldest_one_that_is_left() -> None:
    clock = ManualClock()
    appends = UnorderedAppends(clock.seconds)
    assert (appends.age_s(), appends.reason()) == (0, None)
    for number in (7, 3, 5):
        appends.begin(number)
        clock.advance(2)
    assert appends.reason() == "an append has waited 6 s"
    appends.end([3])
    assert appends.age_s() == 6
    appends.end([7])
    assert (appends.age_s(), appends.reason()) == (2, None)
    appends.end(iter([5]))
    assert appends.age_s() == 0


def test_a_stall_of_appends_in_any_order_ends_with_any_answer() -> None:
    clock = ManualClock()
    appends = UnorderedAppends(clock.seconds)
    clock.advance(100)
    assert appends.longest_stall_s() == 0
    for number in range(3):
        appends.begin(number)
        clock.advance(1)
    assert appends.longest_stall_s() == 3
    appends.end([2])
    clock.advance(2)
    assert appends.longest_stall_s() == 3
    appends.end([0, 1])
    clock.advance(MEMORY_S - 1)
    assert appends.longest_stall_s() == 2
    clock.advance(2)
    assert appends.longest_stall_s() == 0
