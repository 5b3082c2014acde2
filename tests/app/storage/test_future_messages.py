from __future__ import annotations

from riptide.message import NANOSECONDS
from riptide.storage.future_messages import FutureMessages
from tests.app.storage.set_clock import SetClock

MONTH_NS = 30 * 86_400 * NANOSECONDS
LASTING_S = 60


def test_the_age_of_a_message_from_beyond_now_counts_from_when_it_was_found() -> None:
    clock = SetClock()
    messages = FutureMessages(clock.expiry, LASTING_S)
    messages.look(1, clock.wall_ns + MONTH_NS, head=4)
    clock.go_on(LASTING_S)
    assert (list(messages.due()), messages.first_kept(1)) == ([], 1)
    clock.go_on(1)
    assert (list(messages.due()), messages.first_kept(1)) == ([1], 5)
    assert list(messages.due()) == []


def test_a_message_from_before_now_is_none_of_them() -> None:
    clock = SetClock()
    messages = FutureMessages(clock.expiry, LASTING_S)
    messages.look(1, clock.wall_ns, head=4)
    clock.go_on(LASTING_S + 1)
    assert (list(messages.due()), messages.first_kept(1), messages.knows(1, 4)) == ([], 1, False)


def test_a_message_that_was_found_stays_found_whatever_the_clock_does() -> None:
    clock = SetClock()
    messages = FutureMessages(clock.expiry, LASTING_S)
    messages.look(1, clock.wall_ns + MONTH_NS, head=4)
    assert (messages.knows(1, 4), messages.knows(1, 5), messages.knows(2, 1)) == (
        True,
        False,
        False,
    )
    clock.set_by(-86_400 * 365)
    clock.go_on(LASTING_S + 1)
    assert (list(messages.due()), messages.first_kept(1)) == ([1], 5)


def test_a_topic_that_is_forgotten_or_looked_at_again_is_not_due_for_what_it_had() -> None:
    clock = SetClock()
    messages = FutureMessages(clock.expiry, LASTING_S)
    for topic_id in (1, 2):
        messages.look(topic_id, clock.wall_ns + MONTH_NS, head=4)
    messages.forget(1)
    messages.look(2, clock.wall_ns, head=9)
    clock.go_on(LASTING_S + 1)
    assert (list(messages.due()), messages.first_kept(1), messages.first_kept(2)) == ([], 1, 1)
