from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.storage.jetstream import life
from riptide.storage.jetstream.life import Life
from riptide.storage.jetstream.record import Record

if TYPE_CHECKING:
    import pytest


def test_numbers_that_go_on_stay_in_one_epoch() -> None:
    own = Life()
    epoch = own.epoch
    for first in (1, 4, 10):
        assert own.epoch_for("a", first) == epoch
        own.note("a", epoch, first + 2)
    assert own.epoch_for("b", 1) == epoch


def test_a_number_that_was_given_is_given_again_in_another_epoch_only() -> None:
    own = Life()
    before = own.epoch
    own.note("a", before, 3)
    after = own.epoch_for("a", 3)
    assert after != before
    # That epoch has given nothing yet.
    assert own.epoch_for("a", 1) == after


def test_what_an_epoch_has_given_that_is_over_does_not_matter() -> None:
    own = Life()
    before = own.epoch
    own.begin_anew()
    own.note("a", before, 3)
    assert own.epoch_for("a", 1) == own.epoch != before


def test_of_numbers_that_may_have_been_given_the_highest_counts() -> None:
    own = Life()
    before = own.epoch
    own.note("a", before, 9)
    own.note("a", before, 3)
    assert own.epoch_for("a", 9) != before


def test_more_topics_than_can_be_remembered_begin_another_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(life, "REMEMBERED", 2)
    own = Life()
    first = own.epoch
    for topic in "aab":
        own.note(topic, own.epoch, 1)
    assert own.epoch == first
    own.note("c", first, 1)
    assert own.epoch != first
    # An id of the forgotten ones is not given again.
    assert own.epoch_for("a", 1) != first


def test_what_was_written_in_any_epoch_of_this_life_is_its_own() -> None:
    own = Life()
    before = own.epoch
    own.begin_anew()
    for epoch in (before, own.epoch):
        assert own.has_written(Record("0a1b2c3d", 1, f"{epoch}.7"))
    assert not own.has_written(Record(own.epoch, 1, "0a1b2c3d.7"))
