from __future__ import annotations

import logging
import time

import pytest

from riptide.message import NANOSECONDS
from riptide.storage.clock import ExpiryClock
from tests.app.storage.set_clock import START_S, SetClock

DAY_S = 86_400
MONTH_S = 30 * DAY_S


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


def test_it_is_the_wall_clock_as_long_as_nobody_sets_that() -> None:
    clock = ExpiryClock()
    for _ in range(3):
        assert abs(clock.now_ns() - time.time_ns()) < 5 * NANOSECONDS
    assert clock.doubt() is None


def test_it_follows_small_corrections_however_many_there_are(clock: SetClock) -> None:
    for _ in range(100):
        clock.go_on(60)
        clock.set_by(2)
        clock.now_s()
    assert (clock.now_s(), clock.expiry.doubt()) == (6200, None)


def test_a_step_forward_is_believed_only_after_as_much_time_as_it_skipped(clock: SetClock) -> None:
    clock.set_by(600)
    assert clock.now_s() == 0
    clock.go_on(599)
    assert clock.now_s() == 599
    assert "the clock went ahead by 600 s at once" in str(clock.expiry.doubt())
    assert "for 1 s more" in str(clock.expiry.doubt())
    clock.go_on(1)
    assert clock.now_s() == 1200
    assert clock.expiry.doubt() is None


def test_a_step_forward_is_believed_after_an_hour_however_large_it_is(clock: SetClock) -> None:
    clock.set_by(MONTH_S)
    clock.now_s()
    clock.go_on(3599)
    assert clock.now_s() == 3599
    clock.go_on(1)
    assert clock.now_s() == MONTH_S + 3600


def test_a_step_that_is_taken_back_has_never_been(clock: SetClock) -> None:
    clock.set_by(MONTH_S)
    clock.now_s()
    clock.go_on(30)
    clock.set_by(-MONTH_S)
    assert (clock.now_s(), clock.expiry.doubt()) == (30, None)
    assert clock.expiry.times_set_back == 0


def test_another_step_forward_begins_another_pause(clock: SetClock) -> None:
    clock.set_by(600)
    clock.now_s()
    clock.go_on(590)
    clock.set_by(3000)
    clock.now_s()
    clock.go_on(3000)
    assert clock.now_s() == 3590
    clock.go_on(600)
    assert clock.now_s() == 4190 + 3600


def test_a_step_back_is_followed_at_once_and_counted(clock: SetClock) -> None:
    clock.set_by(-MONTH_S)
    assert (clock.now_s(), clock.expiry.doubt()) == (-MONTH_S, None)
    assert clock.expiry.times_set_back == 1
    clock.now_s()
    assert clock.expiry.times_set_back == 1


def test_each_change_of_mind_is_said_once(
    clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def said() -> list[str]:
        for _ in range(3):
            clock.now_s()
        texts = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return texts

    assert said() == []
    clock.set_by(600)
    (doubt,) = said()
    assert doubt.startswith("the clock went ahead by 600 s at once: no message expires because of")
    clock.set_by(-600)
    assert said() == ["the clock was set back to where it was: messages expire as before"]
    clock.set_by(-600)
    assert said() == ["the clock was set back by 600 s"]
    clock.set_by(600)
    said()
    clock.go_on(600)
    assert said() == [
        "the clock is believed now, though it went ahead by 600 s: what is too old by it is deleted"
    ]


def test_a_log_that_was_off_for_hours_is_taken_up_without_a_doubt(clock: SetClock) -> None:
    clock.expiry.continue_from((START_S - DAY_S + 1) * NANOSECONDS, 60 * NANOSECONDS)
    assert (clock.now_s(), clock.expiry.doubt()) == (0, None)


def test_a_clock_that_is_far_ahead_at_the_start_deletes_no_log_for_an_hour(clock: SetClock) -> None:
    clock.expiry.continue_from((START_S - MONTH_S) * NANOSECONDS, 2 * DAY_S * NANOSECONDS)
    assert clock.now_s() == -MONTH_S
    assert "went ahead by 2592000 s" in str(clock.expiry.doubt())
    clock.go_on(3600)
    assert clock.now_s() == 3600


def test_a_clock_that_would_not_expire_the_newest_message_is_not_far_ahead(clock: SetClock) -> None:
    clock.expiry.continue_from((START_S - MONTH_S) * NANOSECONDS, 2 * MONTH_S * NANOSECONDS)
    assert (clock.now_s(), clock.expiry.doubt()) == (0, None)


def test_a_clock_that_is_behind_at_the_start_is_told_of(
    clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    clock.expiry.continue_from((START_S + MONTH_S) * NANOSECONDS, 60 * NANOSECONDS)
    assert (clock.now_s(), clock.expiry.doubt()) == (0, None)
    assert "the clock is 2592000 s behind the newest message of the log" in caplog.text
    # Then somebody sets it right, and no message expires at once because of that.
    clock.set_by(MONTH_S + 60)
    assert clock.now_s() == 0
