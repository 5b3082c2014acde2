"""Instances that share a log in a real server of NATS, and what happens to them.

What the log promises as a ``MessageLog`` is tested in tests/app/storage/test_message_log.py.
"""

from __future__ import annotations

import asyncio
import functools
import random
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from riptide.errors import (
    LogUnavailableError,
    TooLargeError,
    UncertainAppendError,
)
from riptide.message import MessageId, Receipt
from riptide.storage.jetstream import engine, log
from riptide.storage.jetstream.engine import NoAnswerError
from riptide.storage.jetstream.options import JetStreamOptions
from riptide.storage.message_log import IdState
from tests.app.messages import published
from tests.app.storage.appending import append
from tests.app.storage.feed import ListFeed
from tests.app.storage.jetstream.conftest import KEEP
from tests.nats_servers import server
from tests.waiting import DEADLINE_S, eventually, in_time

if TYPE_CHECKING:
    from pathlib import Path

    from riptide.storage.jetstream.log import JetStreamLog
    from tests.app.storage.jetstream.conftest import OpenInstance


def _has_all(feed: ListFeed, last: int) -> bool:
    return feed.sequences[-1:] == [last]


async def _all(log: JetStreamLog, topic: str) -> list[tuple[str, bytes]]:
    """Return all messages of a topic by id."""
    found: list[tuple[str, bytes]] = []
    after = 0
    while messages := await log.read(topic, after):
        found += [(str(m.id), m.payload) for m in messages]
        after = messages[-1].sequence
    return found


async def test_what_instances_write_at_once_has_one_order_without_a_gap(
    instance: OpenInstance,
) -> None:
    logs = [await instance() for _ in range(3)]
    feeds = [ListFeed() for _ in logs]
    for each, feed in zip(logs, feeds, strict=True):
        await each.follow("a", feed)

    async def publish(number: int) -> list[tuple[str, bytes]]:
        kept = []
        for n in range(60):
            payload = b'"%d-%d"' % (number, n)
            receipt = await logs[number].append(published("a", [payload]))
            kept.append((str(receipt.first), payload))
        return kept

    kept = [each for part in await asyncio.gather(*map(publish, range(3))) for each in part]
    stored = await _all(logs[0], "a")
    assert sorted(kept) == sorted(stored)
    assert [MessageId.parse(i).sequence for i, _ in stored] == list(range(1, 181))
    for feed in feeds:
        await eventually(functools.partial(_has_all, feed, 180))
        pushed = [(str(m.id), m.payload) for push in feed.pushes for m in push]
        assert pushed == stored
        assert feed.losses == 0
    for each in logs:
        for i, _ in stored[::20]:
            assert await each.place("a", MessageId.parse(i)) is IdState.KNOWN


async def test_a_publication_larger_than_the_servers_take_at_once_is_kept_whole(
    instance: OpenInstance,
) -> None:
    one, other = await instance(), await instance()
    feed = ListFeed()
    await other.follow("a", feed)
    payloads = [b'"%06d%s"' % (n, b"x" * 500) for n in range(6_000)]
    assert sum(map(len, payloads)) > 2 * one.max_message_bytes
    receipt = await in_time(one.append(published("a", payloads)))
    assert (receipt.first.sequence, receipt.last.sequence) == (1, 6_000)
    assert await append(other, "a", b"1") == 6_001
    assert [payload for _, payload in await _all(other, "a")] == [*payloads, b"1"]
    await eventually(lambda: feed.sequences[-1:] == [6_001])
    assert feed.sequences == list(range(1, 6_002))


async def test_a_message_larger_than_the_servers_take_is_refused_by_its_size(
    instance: OpenInstance,
) -> None:
    one = await instance()
    with pytest.raises(TooLargeError, match="max_payload"):
        await in_time(one.append(published("a", [b'"%s"' % (b"x" * 1024 * 1024)])))
    assert await append(one, "a", b"1") == 1


@pytest.mark.parametrize("loses", ["the answer", "the record"])
async def test_lost_answers_lose_and_double_nothing(
    instance: OpenInstance, monkeypatch: pytest.MonkeyPatch, loses: str
) -> None:
    """Each instance loses a third of what it sends, or of its answers."""
    logs = [await instance() for _ in range(2)]
    chance = random.Random(5)
    publish = engine.Engine.publish

    async def lossy(*arguments: object, **options: object) -> int:
        is_lost = chance.random() < 0.3
        if is_lost and loses == "the record":
            raise NoAnswerError("lost")
        number = await publish(*arguments, **options)  # type: ignore[arg-type]  # passed on
        if is_lost:
            raise NoAnswerError("lost")
        return number

    monkeypatch.setattr(engine.Engine, "publish", lossy)
    payloads = [b'"%d"' % n for n in range(60)]
    appends = [logs[n % 2].append(published("a", [payload])) for n, payload in enumerate(payloads)]
    receipts: list[Receipt] = await in_time(asyncio.gather(*appends))
    stored = await _all(logs[0], "a")
    assert sorted(payload for _, payload in stored) == sorted(payloads)
    assert {str(receipt.first) for receipt in receipts} == {i for i, _ in stored}


async def test_a_publisher_learns_that_nothing_was_kept_or_that_nobody_knows(
    instance: OpenInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await instance(append_timeout_s=0.3)

    async def unanswered(*_: object, **__: object) -> int:
        raise NoAnswerError("the servers are silent")

    with monkeypatch.context() as patch:
        patch.setattr(engine.Engine, "publish", unanswered)
        with pytest.raises(UncertainAppendError, match="the servers are silent"):
            await in_time(one.append(published("a", [b"1"])))
    with monkeypatch.context() as patch:
        patch.setattr(engine.Engine, "ask", unanswered)
        with pytest.raises(LogUnavailableError, match="was not published"):
            await in_time(one.append(published("b", [b"1"])))
    assert await append(one, "a", b"1") == 1
    assert one.oldest_append_age_s() == 0


async def test_a_later_instance_has_all_messages_and_knows_all_ids(instance: OpenInstance) -> None:
    one = await instance()
    receipt = await one.append(published("a.b", [b"1", b"2"]))
    other = await instance()
    assert await _all(other, "a.b") == await _all(one, "a.b")
    assert await other.place("a.b", receipt.first) is IdState.KNOWN
    assert await append(other, "a.b", b"3") == 3
    assert await other.names("", 10) == ["a.b"]
    assert await one.place("a.b", MessageId("ffffffff", 2)) is IdState.NEVER


async def test_a_stream_that_is_deleted_is_a_new_log(
    instance: OpenInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "SWEEP_INTERVAL_S", 0.05)
    one = await instance()
    feed = ListFeed()
    await one.follow("a", feed)
    receipt = await one.append(published("a", [b"1", b"2"]))
    await eventually(lambda: feed.sequences == [1, 2])
    await one._engine.ask(f"STREAM.DELETE.{one._options.stream}")
    # There is a connection, and no log to be reached by it.
    await eventually(lambda: not one.connection.is_up)
    other = await instance()
    await append(other, "a", b"new")
    await eventually(lambda: feed.losses)
    assert await one.place("a", receipt.last) is IdState.NEVER
    assert await append(one, "a", b"3") == 2
    assert one.connection.is_up


async def test_a_message_of_another_program_is_passed_over_and_stops_its_topic_as_the_last_one(
    instance: OpenInstance,
) -> None:
    one, other = await instance(append_timeout_s=1), await instance()
    await append(one, "a", b"1")
    foreign = await one._engine.publish(one._subjects.stored("a"), b"hello", {})
    assert await _all(other, "a") == await _all(one, "a")
    assert len(await _all(one, "a")) == 1
    with pytest.raises(LogUnavailableError, match=f"message {foreign} of the stream") as error:
        await in_time(one.append(published("a", [b"2"])))
    assert "nats stream rmm" in str(error.value)
    await one._engine.ask(f"STREAM.MSG.DELETE.{one._options.stream}", {"seq": foreign})
    assert await append(one, "a", b"2") == 2
    assert await append(other, "b", b"1") == 1


async def test_who_reads_while_no_server_answers_waits_for_as_long_as_an_election_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "REQUEST_TIMEOUT_S", 0.2)
    monkeypatch.setattr(log, "READ_PATIENCE_S", DEADLINE_S)
    with server(tmp_path) as nats:
        options = JetStreamOptions([nats.url], replicas=1)
        own = log.JetStreamLog(options, KEEP)
        await own.open()
        await append(own, "a", b"1")
        nats.send(signal.SIGSTOP)
        asked = Counter[str]()
        ask = own._engine.ask

        async def count(action: str, *rest: Any) -> dict[str, Any]:
            asked[action.split(".")[1]] += 1
            return await ask(action, *rest)

        monkeypatch.setattr(own._engine, "ask", count)
        reading = asyncio.create_task(own.bounds("a"))
        # The answer to the first question has not come.
        await eventually(lambda: asked["MSG"] > 1)
        assert not reading.done()
        nats.send(signal.SIGCONT)
        assert await in_time(reading) == (1, 1)
        monkeypatch.setattr(log, "READ_PATIENCE_S", 0)
        nats.send(signal.SIGSTOP)
        with pytest.raises(LogUnavailableError, match="cannot be read"):
            await in_time(own.bounds("a"))
        nats.send(signal.SIGCONT)
        await own.close()


async def test_who_reads_without_a_connection_is_soon_told_so(tmp_path: Path) -> None:
    with server(tmp_path) as nats:
        own = log.JetStreamLog(JetStreamOptions([nats.url], replicas=1), KEEP)
        await own.open()
        nats.stop()
        await eventually(own.unavailable_reason)
        reading = asyncio.create_task(own.bounds("a"))
        with pytest.raises(LogUnavailableError, match="there is no connection to NATS"):
            await in_time(reading)
        await own.close()


async def test_a_server_that_does_not_answer_for_the_stream_is_left_for_another(
    instance: OpenInstance,
    options: JetStreamOptions,
    nats_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Two addresses of one server.
    assert isinstance(options.urls, list)
    options.urls.append(nats_url.replace("127.0.0.1", "localhost"))
    monkeypatch.setattr(log, "OTHER_SERVER_S", 0.2)
    one = await instance()

    async def is_cut_off(*_: object) -> None:
        raise NoAnswerError("the stream has no leader")

    with monkeypatch.context() as cut:
        cut.setattr(log, "look", is_cut_off)
        await eventually(lambda: one.connection.reconnects > 1)
    servers = [text for text in caplog.messages if "trying another" in text]
    assert "127.0.0.1" in servers[0] + servers[1]
    assert "localhost" in servers[0] + servers[1]
    await one.append(published("a", [b"1"]))
    await eventually(lambda: one.connection.lost_s == 0)
