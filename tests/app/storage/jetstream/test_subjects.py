from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riptide.errors import InvalidTopicError
from riptide.message import check_topic
from riptide.storage.jetstream.subjects import BARRIER, Subjects

SUBJECTS = Subjects("orders")
TOPICS = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._~:-]{0,127}\Z").map(check_topic)
# What a server takes for one token, which stands for itself.
TOKEN = re.compile(r"[^.*>\s]+")


@given(topic=TOPICS)
def test_the_topic_of_a_subject_is_the_one_that_it_was_made_of(topic: str) -> None:
    assert SUBJECTS.topic(SUBJECTS.stored(topic)) == topic
    assert SUBJECTS.topic(SUBJECTS.live(topic)) == topic


@given(topics=st.lists(TOPICS, min_size=2, max_size=2, unique=True))
def test_no_two_topics_share_a_subject(topics: list[str]) -> None:
    for subject in (SUBJECTS.stored, SUBJECTS.live):
        assert len(set(map(subject, topics))) == 2


@given(topic=TOPICS)
def test_a_topic_is_one_token_behind_the_name_of_the_stream(topic: str) -> None:
    for subject, kind in ((SUBJECTS.stored(topic), "t"), (SUBJECTS.live(topic), "live")):
        stream, found, token = subject.split(".")
        assert (stream, found) == ("orders", kind)
        assert TOKEN.fullmatch(token)


def test_all_subjects_are_those_of_any_token() -> None:
    assert SUBJECTS.all_stored == "orders.t.>"
    assert SUBJECTS.all_live == "orders.live.>"


def test_dots_that_would_be_empty_tokens_are_none() -> None:
    assert SUBJECTS.stored("a..b.") == "orders.t.a==b="


def test_the_barrier_is_no_topic() -> None:
    with pytest.raises(InvalidTopicError):
        check_topic(BARRIER)
    assert SUBJECTS.topic(SUBJECTS.stored(BARRIER)) == BARRIER
