from __future__ import annotations

import pytest

from riptide.hub.fair_queue import FairQueue


def _drain(queue: FairQueue[str]) -> str:
    found = ""
    while queue:
        found += queue.get()
    return found


def test_long_items_of_each_topic_take_turns_however_many_one_topic_has() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in "aaaa":
        queue.put(item, "a", short=False)
    queue.put("b", "b", short=False)
    queue.put("c", "c", short=False)
    assert _drain(queue) == "abcaaa"


def test_a_short_item_comes_next_but_one_at_the_latest() -> None:
    queue: FairQueue[str] = FairQueue()
    for topic in "abcd":
        queue.put(topic, topic, short=False)
    queue.put("1", "quiet", short=True)
    assert "1" in queue.get() + queue.get()


def test_long_items_are_not_starved_by_short_ones() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in "1234":
        queue.put(item, "quiet", short=True)
    for item in "ab":
        queue.put(item, "loud", short=False)
    assert _drain(queue) == "1a2b34"


def test_an_empty_queue_gives_out_nothing_and_is_false() -> None:
    queue: FairQueue[str] = FairQueue()
    assert not queue
    with pytest.raises(LookupError):
        queue.get()
