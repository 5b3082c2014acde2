"""What every log promises."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riptide.errors import TopicLimitError
from riptide.message import NANOSECONDS, Acceptance, MessageId, Receipt
from riptide.storage import sqlite_writer
from riptide.storage.jetstream.log import JetStreamLog
from riptide.storage.message_log import READ_BYTES, READ_MESSAGES, IdState
from riptide.storage.sqlite import SqliteLog
from riptide.storage.sqlite_writer import SqliteWriter
from tests.app.messages import published
from tests.app.storage.appending import append, end_of, epoch_of
from tests.app.storage.feed import ListFeed
from tests.waiting import eventually, in_time

if TYPE_CHECKING:
    import sqlite3

    from riptide.storage.message_log import MessageLog
    from tests.app.storage.conftest import OpenLog


async def _sequences(log: MessageLog, topic: str, after: int = 0) -> list[int]:
    return [message.sequence for message in await log.read(topic, after)]


async def test_messages_are_numbered_from_1_without_a_gap_in_each_topic(open_log: OpenLog) -> None:
    log = await open_log()
    assert await append(log, "a", b"1", b"2") == 1
    assert await append(log, "b", b"3") == 1
    assert await append(log, "a", b"4") == 3
    assert [(m.sequence, m.payload) for m in await log.read("a", 0)] == [
        (1, b"1"),
        (2, b"2"),
        (3, b"4"),
    ]
    assert await log.bounds("a") == (1, 3)


async def test_a_topic_that_never_had_a_message_is_empty(open_log: OpenLog) -> None:
    log = await open_log()
    assert await log.bounds("a") == (1, 0)
    assert await log.read("a", 0) == []


async def test_reading_begins_after_a_number_and_ends_at_the_head(open_log: OpenLog) -> None:
    log = await open_log()
    await append(log, "a", *[b"0"] * 5)
    assert await _sequences(log, "a", 3) == [4, 5]
    assert await _sequences(log, "a", 5) == []
    assert await _sequences(log, "a", 10**17) == []


async def test_futures_are_done_in_the_order_of_numbers(open_log: OpenLog) -> None:
    log = await open_log()
    done: list[int] = []
    appends = [log.append(published("a", [b"0"] * (n % 3 + 1))) for n in range(200)]
    for future in appends:
        future.add_done_callback(lambda f: done.append(f.result().first.sequence))
    await asyncio.gather(*appends)
    await asyncio.sleep(0)
    assert done == sorted(done)
    assert len(set(done)) == 200
    assert (await log.bounds("a")).head == sum(n % 3 + 1 for n in range(200))


async def test_cancelling_the_future_does_not_undo_the_append(open_log: OpenLog) -> None:
    log = await open_log()
    log.append(published("a", [b"1"])).cancel()
    assert await append(log, "a", b"2") == 2
    assert [m.payload for m in await log.read("a", 0)] == [b"1", b"2"]


async def test_a_read_ends_at_so_many_messages(open_log: OpenLog) -> None:
    log = await open_log(messages=READ_MESSAGES * 3)
    await append(log, "a", *[b"0"] * (READ_MESSAGES + 1))
    assert len(await log.read("a", 0)) == READ_MESSAGES
    assert await _sequences(log, "a", READ_MESSAGES) == [READ_MESSAGES + 1]


async def test_reads_that_begin_at_different_places_end_at_the_same_ones(
    open_log: OpenLog,
) -> None:
    log = await open_log(messages=READ_MESSAGES * 3)
    await append(log, "a", *[b"0"] * (READ_MESSAGES * 2 + 1))
    for after in (0, 1, READ_MESSAGES - 1):
        assert (await log.read("a", after))[-1].sequence == READ_MESSAGES
    assert (await log.read("a", READ_MESSAGES + 1))[-1].sequence == READ_MESSAGES * 2


async def test_a_read_ends_at_so_many_bytes_but_has_at_least_one_message(open_log: OpenLog) -> None:
    log = await open_log()
    big = b'"' + b"x" * (READ_BYTES + 1) + b'"'
    await append(log, "a", big, big)
    assert await _sequences(log, "a") == [1]
    assert await _sequences(log, "a", 1) == [2]


async def test_a_message_keeps_when_it_was_accepted_on_both_clocks(open_log: OpenLog) -> None:
    log = await open_log()
    minute_ago = time.time_ns() - 60_000_000_000
    await log.append(published("a", [b"0"], minute_ago))
    (message,) = await log.read("a", 0)
    assert message.accepted_at == minute_ago
    age = time.monotonic_ns() - message.accepted_ns
    assert 59_000_000_000 < age < 90_000_000_000
    assert message.epoch == await epoch_of(log)


async def test_no_more_than_the_newest_messages_are_kept_and_numbers_go_on(
    open_log: OpenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("riptide.storage.sqlite_writer.TRIM_INTERVAL_S", 0.01)
    log = await open_log(messages=3)
    await append(log, "a", *[b"0"] * 10)

    async def trimmed() -> None:
        while await log.bounds("a") != (8, 10):  # noqa: ASYNC110  # the log has no event for it
            await asyncio.sleep(0.01)

    await in_time(trimmed())
    assert await _sequences(log, "a") == [8, 9, 10]
    assert await append(log, "a", b"0") == 11


async def test_expired_messages_go_and_the_head_stays(
    open_log: OpenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("riptide.storage.sqlite_writer.TRIM_INTERVAL_S", 0.01)
    log = await open_log(seconds=60)
    await log.append(published("a", [b"0"] * 4, time.time_ns() - 61_000_000_000))
    await log.append(published("b", [b"0"]))

    async def trimmed() -> None:
        while await log.bounds("a") != (5, 4):  # noqa: ASYNC110  # the log has no event for it
            await asyncio.sleep(0.01)

    await in_time(trimmed())
    assert await _sequences(log, "a") == []
    assert await log.bounds("b") == (1, 1)
    assert await append(log, "a", b"0") == 5


@pytest.mark.parametrize(
    ("messages", "seconds"),
    [(10**30, 3600), (1000, 1e12), (1000, 1e300)],
    ids=["messages", "seconds", "astronomical"],
)
async def test_a_retention_larger_than_any_clock_or_counter_keeps_everything(
    open_log: OpenLog, monkeypatch: pytest.MonkeyPatch, messages: int, seconds: float
) -> None:
    trim, trimmed = SqliteWriter._trim, 0

    def counted_trim(writer: SqliteWriter, connection: sqlite3.Connection) -> bool:
        nonlocal trimmed
        more = trim(writer, connection)
        trimmed += 1
        return more

    monkeypatch.setattr(SqliteWriter, "_trim", counted_trim)
    monkeypatch.setattr("riptide.storage.sqlite_writer.TRIM_INTERVAL_S", 0.01)
    log = await open_log(messages=messages, seconds=seconds)
    for number in range(1, 6):
        assert await append(log, "a", b"0") == number
    # The log in memory looks at each append.
    if isinstance(log, SqliteLog):
        before = trimmed
        await eventually(lambda: trimmed >= before + 2)
    assert await log.bounds("a") == (1, 5)


async def test_the_size_grows_with_what_is_kept(open_log: OpenLog) -> None:
    log = await open_log()
    before = log.size_bytes()
    await append(log, "a", b'"' + b"x" * 100_000 + b'"')
    await eventually(lambda: log.size_bytes() >= before + 100_000)
    assert log.unavailable_reason() is None


async def test_the_epoch_is_8_hexadecimal_digits(open_log: OpenLog) -> None:
    assert re.fullmatch("[0-9a-f]{8}", await epoch_of(await open_log()))


def test_unix_time_is_placed_on_the_monotonic_clock() -> None:
    before = time.monotonic_ns()
    placed = Acceptance.at(time.time_ns()).monotonic_ns
    # The two clocks are read one after the other, and one of them may be adjusted.
    assert abs(placed - before) < 1_000_000_000


@given(st.lists(st.integers(-(10**6), 10**6), max_size=8), st.integers(-(10**6), 10**6))
def test_no_message_is_accepted_later_than_now_however_the_clock_was_set(
    seconds_ago: list[int], unix_s: int
) -> None:
    now = Acceptance(unix_s * NANOSECONDS, 5 * NANOSECONDS)
    for ago in seconds_ago:
        placed = Acceptance.at(now.unix_ns - ago * NANOSECONDS, now)
        assert placed == (now.unix_ns - ago * NANOSECONDS, (5 - max(0, ago)) * NANOSECONDS)


async def test_a_message_from_beyond_now_has_no_age(open_log: OpenLog) -> None:
    log = await open_log()
    in_a_month = time.time_ns() + 30 * 86_400 * NANOSECONDS
    await log.append(published("a", [b"0"], in_a_month))
    (message,) = await log.read("a", 0)
    # It keeps the time that its first consumers were told.
    assert message.accepted_at == in_a_month
    assert message.accepted_ns <= time.monotonic_ns()


async def test_a_message_keeps_the_trace_of_its_publish(open_log: OpenLog) -> None:
    log = await open_log()
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await log.append(published("a", [b"1", b"2"], time.time_ns(), traceparent))
    await append(log, "a", b"3")
    traces = [message.traceparent for message in await log.read("a", 0)]
    assert traces == [traceparent, traceparent, ""]


async def test_a_topic_too_many_is_refused_and_the_others_go_on(open_log: OpenLog) -> None:
    log = await open_log(topics=2)
    await append(log, "a", b"1")
    await append(log, "b", b"1")
    with pytest.raises(TopicLimitError, match="2 topics have messages") as error:
        await append(log, "c", b"1")
    assert error.value.retry_after == 60
    assert await log.bounds("c") == (1, 0)
    assert await append(log, "a", b"2") == 2
    assert log.unavailable_reason() is None


async def test_of_appends_that_wait_together_only_those_to_a_topic_too_many_are_refused(
    open_log: OpenLog,
) -> None:
    log = await open_log(topics=2)
    appends = [log.append(published(topic, [b"1"])) for topic in "abcacb"]
    done = await in_time(asyncio.gather(*appends, return_exceptions=True))
    refused = [isinstance(each, TopicLimitError) for each in done]
    # Servers of a network answer in any order who asks whether there is room for another topic.
    last = "c" if not isinstance(log, JetStreamLog) else "abcacb"[refused.index(True)]
    assert refused == [topic == last for topic in "abcacb"]
    assert [each.first.sequence for each in done if isinstance(each, Receipt)] == [1, 1, 2, 2]


async def test_a_topic_whose_messages_have_all_expired_makes_room_and_keeps_its_numbers(
    open_log: OpenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "TRIM_INTERVAL_S", 0.05)
    log = await open_log(seconds=0.2, topics=1)
    await append(log, "a", b"1", b"2")

    async def append_when_there_is_room(topic: str) -> int:
        while True:
            with contextlib.suppress(TopicLimitError):
                return await append(log, topic, b"3")
            await asyncio.sleep(0.05)

    assert await in_time(append_when_there_is_room("b")) == 1
    assert await in_time(append_when_there_is_room("a")) == 3


async def test_topics_are_listed_in_the_order_of_names_with_their_bounds(
    open_log: OpenLog,
) -> None:
    log = await open_log()
    for topic in ("b", "a.b", "B", "a", "a-b", "c"):
        await append(log, topic, b"1", b"2")
    assert await log.names("", 100) == ["B", "a", "a-b", "a.b", "b", "c"]
    assert await log.names("a", 2) == ["a-b", "a.b"]
    assert await log.names("c", 100) == []
    assert await log.topics(["a", "none", "a.b"]) == [
        ("a", (1, 2), await epoch_of(log)),
        ("a.b", (1, 2), await epoch_of(log)),
    ]


async def test_a_topic_whose_messages_have_all_expired_is_not_listed_until_it_has_some(
    open_log: OpenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "TRIM_INTERVAL_S", 0.01)
    log = await open_log(seconds=60)
    await log.append(published("a", [b"0"] * 4, time.time_ns() - 61_000_000_000))

    async def trimmed() -> None:
        while await log.names("", 1):  # noqa: ASYNC110  # the log has no event for it
            await asyncio.sleep(0.01)

    await in_time(trimmed())
    assert await log.topics(["a"]) == []
    await append(log, "a", b"0")
    assert await log.names("", 1) == ["a"]
    assert await log.topics(["a"]) == [("a", (5, 5), await epoch_of(log))]


async def test_who_follows_a_topic_gets_its_messages_after_those_of_the_bounds(
    open_log: OpenLog,
) -> None:
    log, feed = await open_log(), ListFeed()
    epoch = await epoch_of(log)
    assert await log.follow("a", feed) == ("a", (1, 0), epoch)
    await append(log, "a", b"1", b"2")
    await append(log, "b", b"1")
    await eventually(lambda: feed.sequences == [1, 2])
    later = ListFeed()
    assert await log.follow("a", later) == ("a", (1, 2), epoch)
    assert await log.follow("a", feed) == ("a", (1, 2), epoch)
    await append(log, "a", b"3")
    await eventually(lambda: feed.sequences == [1, 2, 3])
    assert later.sequences[-1:] == [3]
    pushed = [(m.id, m.payload, m.accepted_at) for push in feed.pushes for m in push]
    assert pushed == [(m.id, m.payload, m.accepted_at) for m in await log.read("a", 0)]


async def test_who_has_left_gets_nothing_more(open_log: OpenLog) -> None:
    log, feed, stays = await open_log(), ListFeed(), ListFeed()
    for each in (feed, stays):
        await log.follow("a", each)
    await append(log, "a", b"1")
    await eventually(lambda: stays.sequences == [1])
    log.unfollow("a", feed)
    await append(log, "a", b"2")
    await eventually(lambda: stays.sequences == [1, 2])
    assert feed.sequences == [1]


async def test_a_publisher_is_answered_before_anybody_is_pushed_the_message(
    open_log: OpenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, order = await open_log(), list[str]()
    feed = ListFeed()
    monkeypatch.setattr(feed, "push", lambda _: order.append("push"))
    await log.follow("a", feed)
    for _ in range(3):
        done = log.append(published("a", [b"1"]))
        done.add_done_callback(lambda _: order.append("answer"))
        await in_time(done)
        await eventually(lambda: order[-1] == "push")
    assert order == ["answer", "push"] * 3


async def test_a_cancelled_append_is_pushed_all_the_same(open_log: OpenLog) -> None:
    log, feed = await open_log(), ListFeed()
    await log.follow("a", feed)
    log.append(published("a", [b"1"])).cancel()
    await append(log, "a", b"2")
    await eventually(lambda: feed.sequences == [1, 2])


async def test_an_id_is_known_expired_or_was_never_given(
    open_log: OpenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "TRIM_INTERVAL_S", 0.01)
    log = await open_log(messages=3)
    epoch = await epoch_of(log)
    assert await log.place("a", MessageId(epoch, 0)) is IdState.KNOWN
    assert await log.place("a", MessageId(epoch, 1)) is IdState.NEVER
    await append(log, "a", *[b"0"] * 10)

    async def trimmed() -> None:
        while await log.bounds("a") != (8, 10):  # noqa: ASYNC110  # the log has no event for it
            await asyncio.sleep(0.01)

    await in_time(trimmed())
    states = [await log.place("a", MessageId(epoch, sequence)) for sequence in (6, 7, 10, 11)]
    assert states == [IdState.EXPIRED, IdState.KNOWN, IdState.KNOWN, IdState.NEVER]
    assert await log.place("a", MessageId("ffffffff", 8)) is IdState.NEVER


async def test_this_life_ends_at_the_head_and_one_of_another_log_is_not_known(
    open_log: OpenLog,
) -> None:
    log = await open_log()
    assert await end_of(log, await epoch_of(log), "a") == 0
    await append(log, "a", b"1", b"2")
    assert await end_of(log, await epoch_of(log), "a") == 2
    for sequence in (1, 2, 3):
        assert await log.place("a", MessageId("ffffffff", sequence)) is IdState.NEVER
    # Instances that share a log know each other's lives by messages alone.
    ends = {None, 0} if isinstance(log, JetStreamLog) else {None}
    assert await end_of(log, "ffffffff", "a") in ends


async def test_a_log_that_is_open_is_reached_and_says_how_many_topics_are_followed(
    open_log: OpenLog,
) -> None:
    log, feeds = await open_log(), [ListFeed(), ListFeed()]
    for topic, feed in (("a", feeds[0]), ("a", feeds[1]), ("b", feeds[0])):
        await log.follow(topic, feed)
    assert log.connection.is_up
    assert (log.connection.reconnects, sum(log.connection.gaps.values())) == (0, 0)
    assert log.followed_count() == 2
    log.unfollow("a", feeds[0])
    assert log.followed_count() == 2
    log.unfollow("a", feeds[1])
    assert log.followed_count() == 1
