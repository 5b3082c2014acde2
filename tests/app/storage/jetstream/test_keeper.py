from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

import pytest

from riptide.message import NANOSECONDS, MessageId
from riptide.storage.jetstream import keeper as keeper_module
from riptide.storage.jetstream import stream as stream_module
from riptide.storage.jetstream.engine import NoAnswerError, RefusedError
from riptide.storage.jetstream.keeper import Keeper
from riptide.storage.jetstream.stored_records import StoredRecords
from riptide.storage.message_log import IdState, Retention
from tests.app.messages import published
from tests.app.storage.appending import append
from tests.app.storage.feed import ListFeed
from tests.app.storage.jetstream.conftest import KEEP
from tests.app.storage.jetstream.records import make_record
from tests.waiting import eventually, in_time

if TYPE_CHECKING:
    from riptide.storage.jetstream.log import JetStreamLog
    from tests.app.storage.jetstream.conftest import OpenInstance


async def _record_count(log: JetStreamLog, topic: str) -> int:
    return len(await log._stored.several(topic, 1))


async def _first(log: JetStreamLog) -> int:
    """Return the number of the first message that the stream still has."""
    info = await log._engine.ask(f"STREAM.INFO.{log._options.stream}")
    first: int = info["state"]["first_seq"]
    return first


async def _expired(log: JetStreamLog, sequence: int) -> None:
    """Wait until the stream has deleted a message by its age."""
    while await _first(log) <= sequence:  # noqa: ASYNC110  # the servers have no event for it
        await asyncio.sleep(0.02)


class Age(Protocol):
    """Sets how old all records are, as the servers tell it from now on."""

    def __call__(self, seconds: float) -> None: ...


@pytest.fixture
def age(monkeypatch: pytest.MonkeyPatch) -> Age:
    def set_age(seconds: float) -> None:
        moment = time.time() - seconds
        monkeypatch.setattr("riptide.storage.jetstream.stored_records.Stored.stored_at", moment)

    return set_age


async def test_a_topic_that_nobody_writes_to_keeps_its_number_and_its_epoch(
    instance: OpenInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream really deletes its messages here, after two seconds."""
    monkeypatch.setattr(stream_module, "DAY_S", 1.0)
    log = await instance(Retention(1000, 1))
    receipt = await log.append(published("a", [b"1", b"2", b"3"]))

    async def renew() -> None:
        while await _record_count(log, "a") < 2:
            await asyncio.sleep(0.05)
            await log._keeper.renew_heads()

    await in_time(renew())
    await in_time(_expired(log, 1))
    assert await log.place("a", receipt.last) is IdState.KNOWN
    later = await instance(Retention(1000, 1))
    assert (await later.append(published("a", [b"4"]))).first.sequence == 4


async def test_if_no_instance_has_run_for_long_numbers_begin_anew_and_ids_were_never_given(
    instance: OpenInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "DAY_S", 0.3)
    log, feed = await instance(Retention(1000, 0.3)), ListFeed()
    await log.follow("a", feed)
    receipt = await log.append(published("a", [b"1", b"2", b"3"]))
    await eventually(lambda: feed.sequences == [1, 2, 3])
    await in_time(_expired(log, 1))
    later = await instance(Retention(1000, 0.3))
    assert await later.place("a", receipt.last) is IdState.NEVER
    assert (await later.append(published("a", [b"new"]))).first.sequence == 1
    # Those who followed all the time begin anew.
    await eventually(lambda: feed.losses == 1)


async def test_a_head_is_renewed_in_the_second_half_of_its_life(
    instance: OpenInstance, age: Age
) -> None:
    log = await instance()
    await append(log, "a", b"1")
    half_s = log._state.max_age_s / 2
    age(half_s - 60)
    await log._keeper.renew_heads()
    assert await _record_count(log, "a") == 1
    age(half_s + 60)
    await log._keeper.renew_heads()
    before, renewed = [each.record for each in await log._stored.several("a", 1)]
    assert before is not None
    assert renewed is not None
    assert (renewed.head, renewed.payloads) == (before.head, [])


async def test_of_instances_that_renew_a_head_at_the_same_moment_one_does(
    instance: OpenInstance,
) -> None:
    one, other = await instance(), await instance()
    await append(one, "a", b"1")
    last = await one._stored.last("a")
    assert last is not None
    await asyncio.gather(one._keeper._renew("a", last), other._keeper._renew("a", last))
    assert await _record_count(one, "a") == 2
    assert await append(other, "a", b"2") == 2
    assert await append(one, "a", b"3") == 3


async def test_followers_do_not_notice_that_a_head_is_renewed(
    instance: OpenInstance, age: Age
) -> None:
    log, feed = await instance(), ListFeed()
    await log.follow("a", feed)
    await append(log, "a", b"1")
    age(10**6)
    await log._keeper.renew_heads()
    age(0)
    await append(log, "a", b"2")
    await eventually(lambda: feed.sequences == [1, 2])
    assert (feed.losses, sum(log.connection.gaps.values())) == (0, 0)


async def test_messages_for_ever_need_no_keeper(instance: OpenInstance, age: Age) -> None:
    log = await instance(Retention(1000, 1e12))
    await append(log, "a", b"1")
    age(10**9)
    await log._keeper.renew_heads()
    assert await _record_count(log, "a") == 1


async def test_of_topics_without_messages_as_many_are_remembered_as_may_have_some(
    instance: OpenInstance, age: Age
) -> None:
    log = await instance(Retention(1000, 60, topics=3))
    minutes_ago = time.time_ns() - 120 * NANOSECONDS
    for topic in "abc":
        await log.append(published(topic, [b"1"], minutes_ago))
    for topic in "defg":
        await log._stored.store(topic, [make_record(1, accepted_at=minutes_ago)], 0, timeout_s=10)
    await append(log, "b", b"2")
    age(10**6)
    await log._keeper.renew_heads()
    counts = {topic: await _record_count(log, topic) for topic in "abcdefg"}
    # b has a message, and the last three of the others.
    assert counts == {"a": 1, "b": 3, "c": 1, "d": 1, "e": 2, "f": 2, "g": 2}


async def test_a_topic_that_ends_in_a_message_of_another_program_is_left_alone(
    instance: OpenInstance, age: Age
) -> None:
    log = await instance()
    await append(log, "a", b"1")
    await log._engine.publish(log._subjects.stored("a"), b"hello", {})
    await append(log, "b", b"1")
    age(10**6)
    await log._keeper.renew_heads()
    assert [await _record_count(log, topic) for topic in "ab"] == [2, 2]


async def test_a_barrier_is_no_topic_to_keep(instance: OpenInstance, age: Age) -> None:
    log = await instance()
    assert await log.place("a", MessageId("ffffffff", 9)) is IdState.NEVER
    age(10**6)
    await log._keeper.renew_heads()
    assert (await log._topics.all_names(), log._state.topic_count) == ([], 0)


async def test_messages_beyond_the_newest_ones_are_deleted_by_who_has_appended(
    instance: OpenInstance,
) -> None:
    log, other = await instance(Retention(10, 3600)), await instance(Retention(10, 3600))
    for _ in range(8):
        await append(log, "a", *[b"0"] * 3)
    await append(log, "b", *[b"0"] * 10)
    await other._keeper.purge()
    assert await _record_count(log, "a") == 8
    await log._keeper.purge()
    # 15 to 24 are kept, and 13 and 14 are in the same record as 15.
    first = (await log._stored.several("a", 1))[0].record
    assert first is not None
    assert first.first == 13
    assert (await log.bounds("a"), await log.bounds("b")) == ((15, 24), (1, 10))
    assert [m.sequence for m in await log.read("a", 0)] == list(range(15, 25))


async def test_a_purge_that_fails_is_made_up_for(
    instance: OpenInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await instance(Retention(1, 3600))
    for _ in range(3):
        await append(log, "a", b"0")

    async def unanswered(*_: object) -> None:
        raise NoAnswerError("lost")

    with monkeypatch.context() as patch:
        patch.setattr(StoredRecords, "purge", unanswered)
        with pytest.raises(NoAnswerError):
            await log._keeper.purge()
    assert await _record_count(log, "a") == 3
    await log._keeper.purge()
    assert await _record_count(log, "a") == 1
    with monkeypatch.context() as patch:
        patch.setattr(StoredRecords, "purge", unanswered)
        # There is nothing more to do.
        await log._keeper.purge()


async def test_an_open_log_is_kept_in_the_background(
    instance: OpenInstance, monkeypatch: pytest.MonkeyPatch, age: Age
) -> None:
    for name in ("PURGE_INTERVAL_S", "FIRST_ROUND_S"):
        monkeypatch.setattr(keeper_module, name, 0.05)
    log = await instance(Retention(2, 3600))
    for _ in range(5):
        await append(log, "a", b"0")
    age(10**6)

    async def is_kept() -> None:
        while not await _is_purged_and_renewed(log):  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.02)

    await in_time(is_kept())
    assert [m.sequence for m in await log.read("a", 0)] == [4, 5]


async def _is_purged_and_renewed(log: JetStreamLog) -> bool:
    records = [each.record for each in await log._stored.several("a", 1)]
    firsts = [(record.first, len(record.payloads)) for record in records if record is not None]
    return firsts == [(4, 1), (5, 1), (6, 0)]


async def test_a_round_that_fails_is_said_and_made_again(
    instance: OpenInstance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("PURGE_INTERVAL_S", "FIRST_ROUND_S", "LONGEST_ROUND_S", "SHORTEST_ROUND_S"):
        monkeypatch.setattr(keeper_module, name, 0.01)
    rounds = 0

    async def refused(_: Keeper) -> None:
        nonlocal rounds
        rounds += 1
        raise RefusedError(10008, "no quorum")

    monkeypatch.setattr(Keeper, "renew_heads", refused)
    await instance()
    await eventually(lambda: rounds >= 2)
    assert "topics without new messages were not looked at: no quorum" in caplog.text


@pytest.mark.parametrize(
    ("max_age_s", "round_s"), [(2 * 86_400, 3600), (1600, 100), (0.5, 1), (0, 1)]
)
async def test_all_topics_are_looked_at_several_times_in_the_life_of_a_record(
    instance: OpenInstance, max_age_s: float, round_s: float
) -> None:
    log = await instance(KEEP)
    log._state = log._state._replace(max_age_s=max_age_s)
    assert log._keeper._round_s() == round_s
