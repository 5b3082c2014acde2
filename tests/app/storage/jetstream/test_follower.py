from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest
from nats.aio.msg import Msg

from riptide.message import Acceptance, MessageId
from riptide.storage.jetstream import follower as follower_module
from riptide.storage.jetstream.engine import NoAnswerError
from riptide.storage.jetstream.follower import Follower
from riptide.storage.message_log import Connection
from riptide_telemetry import GapSign
from riptide_telemetry.testing import ManualClock
from tests.app.messages import EPOCH
from tests.app.storage.feed import ListFeed
from tests.app.storage.jetstream.fake_stream import FakeStream
from tests.app.storage.jetstream.records import make_record
from tests.waiting import eventually, turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from nats.aio.client import Client
    from nats.aio.subscription import Subscription

    from riptide.message import Message
    from riptide.storage.jetstream.engine import Engine
    from riptide.storage.jetstream.record import Record
    from riptide.storage.jetstream.stored_records import Stored


class FakeEngine:
    """Takes subscriptions, and tells of records as the stream does."""

    def __init__(self) -> None:
        self.is_connected = True
        self.subscriptions: dict[str, Callable[[Msg], Awaitable[None]]] = {}

    async def subscribe(self, subject: str, callback: Callable[[Msg], Awaitable[None]]) -> str:
        """Have a function called."""
        if not self.is_connected:
            raise NoAnswerError("there is no connection")
        assert subject not in self.subscriptions
        self.subscriptions[subject] = callback
        return subject

    async def unsubscribe(self, subscription: str) -> None:
        """Call it no more."""
        del self.subscriptions[subscription]

    async def flush(self) -> None:
        """Wait for nothing."""

    async def tell(self, topic: str, record: Record | None, sequence: int) -> None:
        """Tell of a record, or of a message of another program."""
        headers = {"Nats-Sequence": str(sequence)} | (record.headers() if record else {})
        body = record.body() if record else b"hello"
        message = Msg(cast("Client", None), f"fake.live.{topic}", "", body, headers)
        await self.subscriptions[f"fake.live.{topic}"](message)
        await turns()


class Following:
    """A follower of topic ``a``, with a feed and what the appender hears."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.stream = FakeStream()
        self.connection = Connection()
        self.heard: list[tuple[str, int]] = []
        self.feed = ListFeed()
        self.clock = ManualClock()
        self.follower = Follower(
            cast("Engine", self.engine),
            self.stream,
            self.stream._subjects,
            self._hear,
            self.connection,
            clock=self.clock.seconds,
        )

    def _hear(self, topic: str, record: Record, sequence: int) -> list[Message]:
        self.heard.append((topic, sequence))
        return record.messages(Acceptance.now())

    async def begin(self, sequence: int = 0, stored: int = 0) -> None:
        """Follow the topic from a head on."""
        await self.follower.follow("a", self.feed)
        self.follower.begin("a", MessageId(EPOCH, sequence), stored)

    async def tell(self, record: Record | None, sequence: int) -> None:
        """Tell of a record of the topic."""
        await self.engine.tell("a", record, sequence)


@pytest.fixture
def following() -> Following:
    return Following()


async def test_what_the_stream_tells_is_pushed_from_the_head_on(following: Following) -> None:
    await following.begin(2, 10)
    await following.tell(make_record(3, 2), 11)
    await following.tell(make_record(5), 15)
    assert following.feed.sequences == [3, 4, 5]
    assert following.heard == [("a", 11), ("a", 15)]
    assert sum(following.connection.gaps.values()) == 0


async def test_what_is_told_twice_is_pushed_once(following: Following) -> None:
    await following.begin(2, 10)
    for sequence, record in ((10, make_record(2)), (11, make_record(3)), (11, make_record(3))):
        await following.tell(record, sequence)
    assert following.feed.sequences == [3]
    assert following.feed.losses == 0


async def test_a_record_that_was_not_heard_is_a_gap_that_the_numbers_show(
    following: Following,
) -> None:
    await following.begin(2, 10)
    await following.tell(make_record(6, 2), 14)
    await following.tell(make_record(8), 15)
    assert following.feed.sequences == [6, 7, 8]
    assert (sum(following.connection.gaps.values()), following.feed.losses) == (1, 0)


async def test_a_record_without_messages_pushes_nothing_and_moves_the_head(
    following: Following,
) -> None:
    await following.begin(2, 10)
    await following.tell(make_record(3, 0), 12)
    assert following.feed.pushes == []
    await following.tell(make_record(3), 13)
    assert following.feed.sequences == [3]
    assert (sum(following.connection.gaps.values()), following.feed.losses) == (0, 0)


async def test_a_message_of_another_program_is_passed_over(following: Following) -> None:
    await following.begin(2, 10)
    await following.tell(None, 11)
    await following.tell(make_record(3), 12)
    assert following.feed.sequences == [3]
    assert sum(following.connection.gaps.values()) == 0


async def test_numbers_that_begin_anew_are_a_loss_and_go_on_after_it(following: Following) -> None:
    await following.begin(7, 10)
    await following.tell(make_record(1, epoch="ffffffff"), 20)
    assert (following.feed.sequences, following.feed.losses) == ([], 1)
    await following.tell(make_record(2, epoch="ffffffff"), 21)
    assert (following.feed.sequences, following.feed.losses) == ([2], 1)


async def test_records_that_come_before_the_head_is_known_wait_for_it(
    following: Following,
) -> None:
    await following.follower.follow("a", following.feed)
    for number in (3, 4, 5):
        await following.tell(make_record(number), 10 + number)
    assert following.feed.pushes == []
    following.follower.begin("a", MessageId(EPOCH, 4), 14)
    await turns()
    assert following.feed.sequences == [5]
    assert sum(following.connection.gaps.values()) == 0


async def test_an_early_record_that_the_head_has_is_not_pushed(following: Following) -> None:
    await following.follower.follow("a", following.feed)
    await following.tell(make_record(3), 13)
    following.follower.begin("a", MessageId(EPOCH, 3), 13)
    await turns()
    assert following.feed.pushes == []


async def test_a_second_feed_does_not_take_the_first_one_back(following: Following) -> None:
    await following.begin(2, 10)
    await following.tell(make_record(3), 11)
    other = ListFeed()
    await following.follower.follow("a", other)
    following.follower.begin("a", MessageId(EPOCH, 3), 11)
    await following.tell(make_record(4), 12)
    assert (following.feed.sequences, other.sequences) == ([3, 4], [4])
    assert len(following.follower) == 1
    assert list(following.engine.subscriptions) == ["fake.live.a"]


async def test_who_has_left_is_pushed_nothing_and_the_last_one_ends_the_subscription(
    following: Following,
) -> None:
    await following.begin()
    other = ListFeed()
    await following.follower.follow("a", other)
    following.follower.unfollow("a", following.feed)
    following.follower.unfollow("a", following.feed)
    await following.tell(make_record(1), 1)
    assert (following.feed.sequences, other.sequences) == ([], [1])
    following.follower.unfollow("a", other)
    await eventually(lambda: not following.engine.subscriptions)
    assert len(following.follower) == 0
    following.follower.unfollow("a", other)


async def test_who_leaves_between_the_record_and_its_push_is_pushed_nothing(
    following: Following,
) -> None:
    await following.begin()
    headers = {"Nats-Sequence": "1"} | make_record(1).headers()
    message = Msg(cast("Client", None), "fake.live.a", "", b"1", headers)
    await following.engine.subscriptions["fake.live.a"](message)
    following.follower.unfollow("a", following.feed)
    await turns()
    assert following.feed.pushes == []


async def test_who_follows_without_a_connection_follows_as_soon_as_somebody_asks_again(
    following: Following,
) -> None:
    following.engine.is_connected = False
    with pytest.raises(NoAnswerError):
        await following.follower.follow("a", following.feed)
    assert len(following.follower) == 1
    following.engine.is_connected = True
    await following.begin()
    await following.tell(make_record(1), 1)
    assert following.feed.sequences == [1]


async def test_a_sweep_finds_what_was_not_told(following: Following) -> None:
    await following.begin()
    following.stream.put("a", make_record(1))
    following.stream.put("b", make_record(1))
    following.stream.put("a", make_record(2))
    await following.follower.sweep()
    await turns()
    assert following.feed.sequences == [2]
    assert following.heard == [("a", 3)]
    assert sum(following.connection.gaps.values()) == 0
    await following.follower.sweep()
    assert following.connection.gaps == {"number": 0, "reconnect": 0, "sweep": 1}
    await following.tell(make_record(2), 3)
    assert following.feed.sequences == [2]
    await following.follower.sweep()
    assert sum(following.connection.gaps.values()) == 1


async def test_what_the_stream_tells_later_than_a_sweep_finds_it_is_no_gap(
    following: Following,
) -> None:
    await following.begin()
    following.stream.put("a", make_record(1))
    following.stream.put("a", make_record(2))
    await following.follower.sweep()
    await following.tell(make_record(1), 1)
    await following.tell(make_record(2), 2)
    await following.follower.sweep()
    assert following.feed.sequences == [2]
    assert sum(following.connection.gaps.values()) == 0


async def test_what_a_sweep_finds_after_a_reconnection_was_missed(following: Following) -> None:
    await following.begin()
    following.stream.put("a", make_record(1))
    await following.follower.sweep(GapSign.RECONNECT)
    await following.follower.sweep()
    assert following.connection.gaps == {"number": 0, "reconnect": 1, "sweep": 0}


async def test_the_lag_is_the_time_since_the_last_sweep_that_had_success(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert following.follower.lag_s() == 0
    await following.follower.sweep()
    following.clock.advance(5)
    assert following.follower.lag_s() == 0, "nothing is followed"
    await following.begin()
    await following.follower.sweep()
    assert following.follower.lag_s() == 0
    following.clock.advance(5)
    assert following.follower.lag_s() == 5

    async def fail(_: object) -> dict[str, Stored]:
        raise NoAnswerError("lost")

    monkeypatch.setattr(following.stream, "lasts", fail)
    with pytest.raises(NoAnswerError):
        await following.follower.sweep()
    assert following.follower.lag_s() == 5


async def test_a_sweep_looks_at_all_topics_so_many_at_once(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "SWEPT_AT_ONCE", 2)
    asked: list[list[str]] = []
    lasts = following.stream.lasts

    async def noted(topics: Sequence[str]) -> dict[str, Stored]:
        asked.append(list(topics))
        return await lasts(topics)

    monkeypatch.setattr(following.stream, "lasts", noted)
    for topic in "abcde":
        await following.follower.follow(topic, following.feed)
        if topic != "c":
            following.follower.begin(topic, MessageId(EPOCH, 0), 0)
    await following.follower.sweep()
    # That of which no head is known has nothing to compare.
    assert asked == [["a", "b"], ["d", "e"]]


async def test_a_stream_that_has_gone_back_is_a_loss_for_all_until_they_begin_anew(
    following: Following,
) -> None:
    await following.begin(7, 10)
    following.follower.lose_all()
    assert following.feed.losses == 1
    await following.tell(make_record(2), 3)
    assert following.feed.pushes == []
    await following.begin(2, 3)
    await following.tell(make_record(3), 4)
    assert (following.feed.sequences, following.feed.losses) == ([3], 1)


def _subscribes_slowly(following: Following, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Let subscriptions wait for the event that is returned."""
    subscribe = following.engine.subscribe
    may = asyncio.Event()

    async def slow(subject: str, callback: Callable[[Msg], Awaitable[None]]) -> Subscription:
        await may.wait()
        return cast("Subscription", await subscribe(subject, callback))

    monkeypatch.setattr(following.engine, "subscribe", slow)
    return may


async def test_who_follows_while_others_subscribe_shares_one_subscription(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    may = _subscribes_slowly(following, monkeypatch)
    other = ListFeed()
    tasks = [
        asyncio.create_task(following.follower.follow("a", feed))
        for feed in (following.feed, other)
    ]
    await turns()
    may.set()
    await asyncio.gather(*tasks)
    following.follower.begin("a", MessageId(EPOCH, 0), 0)
    await following.tell(make_record(1), 1)
    assert (following.feed.sequences, other.sequences) == ([1], [1])
    for feed in (following.feed, other):
        following.follower.unfollow("a", feed)
    await eventually(lambda: not following.engine.subscriptions)


async def test_who_leaves_while_the_subscription_is_made_leaves_none(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    may = _subscribes_slowly(following, monkeypatch)
    task = asyncio.create_task(following.follower.follow("a", following.feed))
    await turns()
    following.follower.unfollow("a", following.feed)
    may.set()
    await task
    await eventually(lambda: not following.engine.subscriptions)
    assert len(following.follower) == 0
