"""Publishers and consumers of several instances, and what was wrong with what they were told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.endurance.account import Account
from benchmarks.endurance.cluster.instances import metrics_of
from benchmarks.endurance.following import Following
from benchmarks.endurance.publishing import Publisher
from benchmarks.endurance.workers import NUMBERS, promises_kept
from benchmarks.figures import Bar, Figure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence

    from benchmarks.endurance.account import Ledger
    from benchmarks.endurance.consumer import Follower
    from benchmarks.endurance.place import Place

# One of each transport on each instance, for each topic.
CONSUMERS = 18
# Publishers publish so many messages at once, so often.
BATCH, PAUSE_S = 5, 0.005
DEADLINE_S, POLL_S = 120.0, 0.01
ACTIVE = "riptide_streaming_active_connections"
UNACCOUNTED = "riptide_streaming_messages_unaccounted"
SENT = "riptide_streaming_messages_sent_total"


class TimedAccount(Account):
    """An account that knows the longest time between two of its messages."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.silence_s = 0.0
        # Messages by their whole id: an id must not be given twice.
        self.by_id: dict[str, int] = {}
        self._heard_at: float | None = None

    def take(self, record: dict[str, Any]) -> None:
        """Account for a record."""
        super().take(record)
        if "event" not in record:
            now = time.monotonic()
            self.silence_s = max(self.silence_s, now - (self._heard_at or now))
            self._heard_at = now
            self.by_id[record["id"]] = record["data"][1]

    def be_patient(self) -> None:
        """Let the silence until now be none."""
        self._heard_at = None


class Outcome(NamedTuple):
    """What publishers and consumers were told, and what the instances count."""

    figures: list[Figure]
    # The sum over all instances.
    unaccounted: float
    # Messages that instances count as sent and no consumer received, or the other way round.
    miscounted: float


class Load:
    """Publishers, one at each instance, and consumers of all transports at each.

    A consumer whose stream has ended goes on at the next instance by the id that it has.
    """

    def __init__(self, places: Sequence[Place], name: str, *, pause_s: float = PAUSE_S) -> None:
        """``name`` is the load's own, for its topics."""
        self.places = places
        # Either would be two parts of a subject of NATS, or none.
        self.topics = topics = (f"{name}.a", f"{name}.")
        self.following = Following(places, CONSUMERS, topics, TimedAccount)
        self.publishers = [
            Publisher(place, topics[n % 2 :] + topics[: n % 2], f"publisher {n}", first=n * NUMBERS)
            for n, place in enumerate(places)
        ]
        # Instances that began to count anew, because they were started again.
        self.reborn: set[Place] = set()
        self.outcome = Outcome([], 0.0, 0.0)
        # The connections of all consumers before the fault, and before the consumers go.
        self.streams_before: list[object] = []
        self.streams_at_the_end: list[object] = []
        self._pause_s = pause_s
        self._publishing = contextlib.AsyncExitStack()
        # Of each publisher: how many were acknowledged before and after some were taken away.
        self._taken: list[list[int]] = []
        self._first_places = [follower.place for follower in self.following.followers]

    async def run(
        self,
        fault: Callable[[], Awaitable[None]],
        *,
        logs_are_whole: bool = True,
        keeps_all: bool = True,
    ) -> None:
        """Publish and follow while something happens, until all goes on, and judge it.

        If logs are not whole at the end, because messages have expired, what consumers received
        is compared with what publishers were told. A fault that takes away what was acknowledged
        (not ``keeps_all``) says from where to where, and consumers may be told to begin anew.
        """
        counted = {place: await self._metric(place, SENT) for place in self.places}
        async with self.following as following:
            async with self._publish():
                await self.all_go_on()
                self._first_places = [follower.place for follower in following.followers]
                self.streams_before = self.streams()
                await fault()
                await self.all_go_on()
            if logs_are_whole:
                logs = await following.read_logs()
            else:
                await self._until(self._consumers_agree)
                logs = {topic: ledger.numbers for topic, ledger in following.ledgers.items()}
            heads = {topic: max(log) for topic, log in logs.items()}
            await self._until(lambda: self._are_at(heads))
            self.streams_at_the_end = self.streams()
            if keeps_all:
                figures = [*promises_kept(self.publishers, logs), *following.figures(logs)]
            else:
                self._leave_out_what_was_taken()
                figures = [*promises_kept(self.publishers, logs), *self._figures_of_resets()]
        unaccounted = 0.0
        for place in self.places:
            await self._until_nobody_is_there(place)
            unaccounted += abs(await self._metric(place, UNACCOUNTED))
        read = {self.places[0]: sum(map(len, logs.values())) if logs_are_whole else 0}
        self.outcome = Outcome(figures, unaccounted, await self._miscounted(counted, read))

    @contextlib.asynccontextmanager
    async def silence(self) -> AsyncIterator[None]:
        """Let nobody publish within this context."""
        await self._publishing.aclose()
        yield
        for account in self.accounts():
            account.be_patient()
        await self._begin_to_publish()

    def taken_from_here(self) -> None:
        """Note that what is acknowledged from now on may be taken away."""
        self._taken = [[len(publisher.acknowledged)] for publisher in self.publishers]

    def taken_from_the_beginning(self) -> None:
        """Note that all that is acknowledged may be taken away."""
        self._taken = [[0] for _ in self.publishers]

    def taken_to_here(self) -> None:
        """Note that what is acknowledged from now on has to stay."""
        for publisher, taken in zip(self.publishers, self._taken, strict=True):
            taken.append(len(publisher.acknowledged))

    @contextlib.asynccontextmanager
    async def _publish(self) -> AsyncIterator[None]:
        await self._begin_to_publish()
        try:
            yield
        finally:
            await self._publishing.aclose()

    async def _begin_to_publish(self) -> None:
        for publisher in self.publishers:
            context = publisher.publishing(BATCH, self._pause_s)
            await self._publishing.enter_async_context(context)

    @property
    def wrong(self) -> list[str]:
        """What was wrong, in words."""
        outcome = self.outcome
        wrong = [
            f"{figure.name}: {figure.median}"
            for figure in outcome.figures
            if figure.verdict == "missed"
        ]
        if outcome.unaccounted:
            wrong.append(f"unaccounted: {outcome.unaccounted}")
        if outcome.miscounted:
            wrong.append(f"counted as sent and not received, or not: {outcome.miscounted}")
        return wrong

    def streams(self, place: Place | None = None) -> list[object]:
        """Return the connections of all consumers, or of those at an instance."""
        followers = self.following.followers
        return [each.connection for each in followers if place in {None, each.place}]

    def ended(self, besides: Collection[Place] = ()) -> int:
        """Return how many streams have ended that were not at one of these instances."""
        return sum(
            before is not after
            for before, after, place in zip(
                self.streams_before, self.streams_at_the_end, self._first_places, strict=True
            )
            if place not in besides
        )

    def silence_s(self, besides: Collection[Place] = ()) -> float:
        """Return the longest time that a consumer had no message; ``besides`` those elsewhere."""
        return max(
            account.silence_s
            for account, place in zip(self.accounts(), self._first_places, strict=True)
            if place not in besides
        )

    def accounts(self) -> list[TimedAccount]:
        """Return the accounts of all consumers."""
        followers: list[Follower] = self.following.followers
        return [each.account for each in followers if isinstance(each.account, TimedAccount)]

    async def all_go_on(self) -> None:
        """Wait until each publisher has another answer, and each consumer other messages."""
        followers, publishers = self.following.followers, self.publishers
        received = [follower.account.received for follower in followers]
        acknowledged = [len(publisher.acknowledged) for publisher in publishers]

        def go_on() -> bool:
            return all(
                follower.account.received > count + BATCH * len(publishers)
                for follower, count in zip(followers, received, strict=True)
            ) and all(
                len(publisher.acknowledged) > count + BATCH
                for publisher, count in zip(publishers, acknowledged, strict=True)
            )

        await self._until(go_on)

    def _consumers_agree(self) -> bool:
        followers, of = self.following.followers, self.following.topic_of
        acknowledged: dict[str, set[int]] = {topic: set() for topic in self.topics}
        for publisher in self.publishers:
            for topic, number in publisher.acknowledged:
                acknowledged[topic].add(number)
        ledgers = self.following.ledgers
        return all(
            acknowledged[topic] <= set(ledgers[topic].numbers.values())
            and follower.account.cursor == max(ledgers[topic].numbers, default=0)
            for follower, topic in zip(followers, of, strict=True)
        )

    def _are_at(self, heads: Mapping[str, int]) -> bool:
        followers, of = self.following.followers, self.following.topic_of
        return all(
            follower.account.cursor == heads[topic]
            for follower, topic in zip(followers, of, strict=True)
        )

    def _leave_out_what_was_taken(self) -> None:
        for publisher, (first, last) in zip(self.publishers, self._taken, strict=True):
            del publisher.acknowledged[first:last]

    def _figures_of_resets(self) -> list[Figure]:
        """Return what was wrong where consumers had to begin anew, at messages of other ids."""
        contents: dict[tuple[str, str], set[int]] = {}
        for account, topic in zip(self.accounts(), self.following.topic_of, strict=True):
            for message_id, number in account.by_id.items():
                contents.setdefault((topic, message_id), set()).add(number)
        for topic, by_id in self.following.ids.items():
            for message_id, number in by_id.items():
                contents.setdefault((topic, message_id), set()).add(number)
        wrong = {
            "ids given twice, to different messages": sum(
                len(numbers) > 1 for numbers in contents.values()
            ),
            "consumers that were not told to begin anew": sum(
                not account.resets for account in self.accounts()
            ),
        }
        return [Figure(name, "", [count], Bar(0)) for name, count in wrong.items()]

    async def _miscounted(
        self, before: Mapping[Place, float], read_besides: Mapping[Place, int]
    ) -> float:
        miscounted = 0.0
        for place in set(self.places) - self.reborn:
            sent = await self._metric(place, SENT) - before[place]
            received = sum(each.received[place] for each in self.following.followers)
            miscounted += abs(sent - received - read_besides.get(place, 0))
        return miscounted

    async def _until_nobody_is_there(self, place: Place) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while await self._metric(place, ACTIVE):
            if time.monotonic() > deadline:
                raise RuntimeError(f"consumers do not leave {place}")
            await asyncio.sleep(POLL_S)

    @staticmethod
    async def _metric(place: Place, name: str) -> float:
        return (await asyncio.to_thread(metrics_of, place)).get(name, 0.0)

    @staticmethod
    async def _until(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError("publishers and consumers do not go on")
            await asyncio.sleep(POLL_S)
