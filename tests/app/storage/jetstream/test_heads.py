from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.message import MessageId
from riptide.storage.jetstream import heads as heads_module
from riptide.storage.jetstream.heads import Head, Heads
from tests.app.messages import EPOCH

if TYPE_CHECKING:
    import pytest


def _head(sequence: int) -> Head:
    return Head(MessageId(EPOCH, sequence), sequence * 10)


def test_the_newest_head_counts_in_whatever_order_they_come() -> None:
    heads = Heads()
    assert heads.get("a") is None
    for sequence in (1, 3, 2, 3):
        heads.note("a", _head(sequence))
    assert heads.get("a") == _head(3)
    assert heads.get("b") is None


def test_a_number_that_has_begun_anew_is_newer_if_the_stream_says_so() -> None:
    heads = Heads()
    heads.note("a", Head(MessageId(EPOCH, 9), 10))
    begun_anew = Head(MessageId("ffffffff", 1), 11)
    heads.note("a", begun_anew)
    assert heads.get("a") == begun_anew


def test_the_highest_number_of_the_stream_is_that_of_all_topics() -> None:
    heads = Heads()
    assert heads.last_sequence == 0
    for topic, sequence in (("a", 5), ("b", 2), ("a", 4)):
        heads.note(topic, _head(sequence))
    assert heads.last_sequence == 50
    heads.forget("a")
    assert heads.last_sequence == 50


def test_what_is_forgotten_is_looked_up_again() -> None:
    heads = Heads()
    heads.note("a", _head(1))
    heads.forget("a")
    heads.forget("never")
    assert heads.get("a") is None


def test_a_stream_that_has_gone_back_begins_with_nothing() -> None:
    heads = Heads()
    heads.note("a", _head(7))
    heads.forget_all()
    assert (heads.get("a"), heads.last_sequence) == (None, 0)
    heads.note("a", _head(2))
    assert heads.get("a") == _head(2)


def test_topics_that_were_written_to_the_longest_ago_make_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heads_module, "REMEMBERED", 2)
    heads = Heads()
    for topic, sequence in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        heads.note(topic, _head(sequence))
    assert [topic for topic in "abc" if heads.get(topic)] == ["a", "c"]
