from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from riptide.errors import TopicLimitError
from riptide.message import NANOSECONDS, Receipt
from riptide.storage.jetstream import topic_list
from riptide.storage.jetstream.engine import Engine
from riptide.storage.message_log import Retention
from tests.app.messages import published
from tests.app.storage.appending import append
from tests.app.storage.jetstream.records import make_record
from tests.waiting import in_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from riptide.storage.jetstream.log import JetStreamLog
    from tests.app.storage.jetstream.conftest import OpenInstance

MINUTE = Retention(1000, 60)


async def _put(log: JetStreamLog, *topics: str, age_s: float = 0) -> None:
    """Store a record of each topic that was accepted so long ago, as another instance does."""
    accepted_at = time.time_ns() - int(age_s * NANOSECONDS)
    for topic in topics:
        await log._stored.store(topic, [make_record(1, accepted_at=accepted_at)], 0, timeout_s=10)


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The offsets of the pages that the servers were asked for."""
    ask, offsets = Engine.ask, list[int]()

    async def noted(
        engine: Engine, action: str, question: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        if question is not None and "offset" in question:
            offsets.append(question["offset"])
        return await ask(engine, action, question)

    monkeypatch.setattr(Engine, "ask", noted)
    return offsets


async def test_names_are_in_order_whoever_has_written_to_them(instance: OpenInstance) -> None:
    one, other = await instance(), await instance()
    for topic in ("b", "a.b", "B", "a"):
        await append(one, topic, b"1")
    await _put(other, "a-b", "c..", "c")
    names = ["B", "a", "a-b", "a.b", "b", "c", "c.."]
    assert await one.names("", 100) == await other.names("", 100) == names
    assert await one.names("a", 3) == ["a-b", "a.b", "b"]
    assert await one.names("aa", 1) == ["b"]
    assert await one.names("c..", 100) == []


async def test_topics_whose_messages_have_expired_are_passed_over_and_the_page_is_full(
    instance: OpenInstance,
) -> None:
    log = await instance(MINUTE)
    await _put(log, "a", "c", "e", "g")
    await _put(log, "b", "d", "f", age_s=70)
    assert await log.names("", 3) == ["a", "c", "e"]
    assert await log.names("c", 3) == ["e", "g"]
    assert list(await log._topics.all_names()) == list("abcdefg")


async def test_the_servers_are_asked_for_names_only_when_these_may_have_changed(
    instance: OpenInstance, listings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await instance()
    await _put(log, "a", "b")
    for _ in range(3):
        assert await log.names("", 10) == ["a", "b"]
    assert len(listings) == 1
    await _put(log, "c")
    assert await log.names("", 10) == ["a", "b", "c"]
    assert len(listings) == 2
    # One has gone, and another one has come.
    stream = log._options.stream
    await log._engine.ask(f"STREAM.PURGE.{stream}", {"filter": log._subjects.stored("a")})
    await _put(log, "d")
    monkeypatch.setattr(topic_list, "REFRESH_S", 0.0)
    assert await log.names("", 10) == ["b", "c", "d"]


async def test_names_come_in_as_many_pages_as_there_are(
    instance: OpenInstance, monkeypatch: pytest.MonkeyPatch, listings: list[int]
) -> None:
    """The servers give a hundred thousand at once: here, what is more than one is a full page."""
    log = await instance()
    topics = [f"t{n}" for n in range(5)]
    await _put(log, *topics)
    monkeypatch.setattr(topic_list, "PAGE", 5)
    assert await log._topics.all_names() == topics
    assert listings == [0, 5]


async def test_barriers_are_not_listed_and_do_not_make_the_list_old(
    instance: OpenInstance, listings: list[int]
) -> None:
    log = await instance()
    await _put(log, "a")
    await log._stored.put_barrier("0a1b2c3d")
    for _ in range(3):
        assert await log.names("", 10) == ["a"]
    assert len(listings) == 1


async def test_a_topic_too_many_is_refused_by_what_all_instances_have_written(
    instance: OpenInstance,
) -> None:
    retention = Retention(1000, 60, topics=3)
    one, other = await instance(retention), await instance(retention)
    await append(one, "a", b"1")
    await append(other, "b", b"1")
    await append(one, "c", b"1")
    for log in (one, other):
        with pytest.raises(TopicLimitError, match="3 topics have messages"):
            await append(log, "d", b"1")
        assert await log.names("", 10) == ["a", "b", "c"]
    assert await append(other, "a", b"2") == 2


async def test_topics_without_messages_leave_their_room_to_others(instance: OpenInstance) -> None:
    log = await instance(Retention(1000, 60, topics=3))
    await _put(log, "a", "b", age_s=70)
    await _put(log, "c")
    outcomes = await in_time(
        asyncio.gather(
            *(log.append(published(topic, [b"1"])) for topic in "defg"), return_exceptions=True
        )
    )
    # All of them come in the second in which the count of topics holds.
    assert len([each for each in outcomes if isinstance(each, Receipt)]) == 2
    assert len([each for each in outcomes if isinstance(each, TopicLimitError)]) == 2
    assert len(await log.names("", 10)) == 3


async def test_of_many_topics_that_begin_at_once_as_many_do_as_may(
    instance: OpenInstance,
) -> None:
    log = await instance(Retention(1000, 60, topics=20))
    appends = [log.append(published(f"t{n:02}", [b"1"])) for n in range(30)]
    outcomes = await in_time(asyncio.gather(*appends, return_exceptions=True))
    assert len([each for each in outcomes if isinstance(each, Receipt)]) == 20
    assert len([each for each in outcomes if isinstance(each, TopicLimitError)]) == 10


async def test_who_waits_for_room_is_not_overtaken(
    instance: OpenInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await instance(Retention(1000, 60, topics=2))
    topics = log._topics
    topics.note(2, topics.begun)
    may, order = asyncio.Event(), list[str]()

    async def begin(name: str) -> None:
        async with topics.room():
            order.append(name)
            await may.wait()

    monkeypatch.setattr(log, "_look", lambda: asyncio.sleep(0))
    first, second = asyncio.create_task(begin("a")), asyncio.create_task(begin("b"))
    while not order:  # noqa: ASYNC110  # the servers answer in their time
        await asyncio.sleep(0.001)
    # It is known by now that there is room.
    topics.note(0, topics.begun)
    third = asyncio.create_task(begin("c"))
    await asyncio.sleep(0)
    may.set()
    await in_time(asyncio.gather(first, second, third))
    assert order == ["a", "b", "c"]
