"""Publishers and consumers of several instances, and what was wrong with what they were told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from benchmarks.endurance.account import Account
from benchmarks.endurance.following import Following
from benchmarks.endurance.publishing import Publisher
from benchmarks.endurance.workers import NUMBERS, promises_kept
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from benchmarks.endurance.account import Ledger
    from tests.service import Service

# One of each transport on each instance, for each topic.
CONSUMERS = 18
# Publishers publish so many messages at once, so often.
BATCH, PAUSE_S = 5, 0.005
ACTIVE = "riptide_streaming_active_connections"
UNACCOUNTED = "riptide_streaming_messages_unaccounted"


class TimedAccount(Account):
    """An account that knows the longest time between two of its messages."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.silence_s = 0.0
        self._heard_at: float | None = None

    def take(self, record: dict[str, Any]) -> None:
        super().take(record)
        if "event" not in record:
            now = time.monotonic()
            self.silence_s = max(self.silence_s, now - (self._heard_at or now))
            self._heard_at = now


class Load:
    """Three publishers, one at each instance, and consumers of all transports at each.

    A consumer whose stream has ended goes on at the next instance by the id that it has.
    """

    def __init__(self, instances: Sequence[Service], name: str) -> None:
        """``name`` is the load's own, for its topics."""
        self.instances = instances
        # Either would be two parts of a subject of NATS, or none.
        topics = (f"{name}.a", f"{name}.")
        self.ports = [int(instance.settings["PORT"]) for instance in instances]
        self.following = Following(self.ports, CONSUMERS, topics, TimedAccount)
        self.publishers = [
            Publisher(port, topics[n % 2 :] + topics[: n % 2], f"publisher {n}", first=n * NUMBERS)
            for n, port in enumerate(self.ports)
        ]
        self.wrong: list[str] = []
        # The connections of all consumers before they go.
        self.streams_at_the_end: list[object] = []

    async def run(self, fault: Callable[[], Awaitable[None]]) -> None:
        """Publish and follow while something happens, until all goes on, and judge it."""
        async with self.following as following:
            async with contextlib.AsyncExitStack() as publishing:
                for publisher in self.publishers:
                    await publishing.enter_async_context(publisher.publishing(BATCH, PAUSE_S))
                await self._all_go_on()
                await fault()
                await self._all_go_on()
            logs = await following.read_logs()
            await following.caught_up({topic: max(log) for topic, log in logs.items()})
            self.streams_at_the_end = self.streams()
            figures = [*promises_kept(self.publishers, logs), *following.figures(logs)]
        self.wrong = [f"{each.name}: {each.median}" for each in figures if each.verdict == "missed"]
        for instance in self.instances:
            await asyncio.to_thread(instance.wait_for_metric, 0, ACTIVE)
            unaccounted = await asyncio.to_thread(instance.metric, UNACCOUNTED)
            if unaccounted:
                self.wrong.append(f"unaccounted at {instance.url}: {unaccounted}")

    def streams(self, instance: Service | None = None) -> list[object]:
        """Return the connections of all consumers, or of those at an instance."""
        return [follower.connection for follower in self._followers(instance)]

    def silence_s(self, besides: Service | None = None) -> float:
        """Return the longest time that a consumer had no message; ``besides`` those elsewhere."""
        left_out = self._followers(besides) if besides is not None else []
        return max(
            follower.account.silence_s
            for follower in self.following.followers
            if follower not in left_out
            if isinstance(follower.account, TimedAccount)
        )

    async def _all_go_on(self) -> None:
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

        await eventually(go_on, "publishers and consumers go on")

    def _followers(self, instance: Service | None) -> list[Any]:
        port = None if instance is None else int(instance.settings["PORT"])
        return [each for each in self.following.followers if port in {None, each.port}]
