"""Many consumers that always reconnect, and the figures of what they received."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Self

from benchmarks.endurance import wire
from benchmarks.endurance.account import Account, Ledger
from benchmarks.endurance.consumer import Follower, connect
from benchmarks.figures import Bar, Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.endurance.place import Place

DEADLINE_S = 120.0
POLL_S = 0.05
# How many connections are opened at once, before anything is measured.
CONNECTING = 200
NOTHING = Bar(0)


class Following:
    """Followers of some topics, spread evenly over the transports, who follow in this context.

    With several ``places``, those of instances that share a log, they begin at different ones.
    """

    def __init__(
        self,
        places: Sequence[Place],
        consumers: int,
        topics: Sequence[str],
        make_account: Callable[[Ledger], Account] = Account,
    ) -> None:
        self.ledgers = {topic: Ledger() for topic in topics}
        self.followers: list[Follower] = []
        self.topic_of: list[str] = []
        # By topic: the number in each message that was read from the log, by the message's id.
        self.ids: dict[str, dict[str, int]] = {}
        for number in range(consumers):
            topic = topics[number // len(wire.TRANSPORTS) % len(topics)]
            transport = wire.TRANSPORTS[number % len(wire.TRANSPORTS)]
            account = make_account(self.ledgers[topic])
            # Consumers of each transport on each instance.
            first = (number + number // len(wire.TRANSPORTS)) % len(places)
            ways = [*places[first:], *places[:first]]
            self.followers.append(Follower(ways, transport, topic, account))
            self.topic_of.append(topic)
        self._places = places
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Connect all, and wait until each has been told that its stream is open."""
        for first in range(0, len(self.followers), CONNECTING):
            some = self.followers[first : first + CONNECTING]
            self._tasks += [asyncio.create_task(follower.follow()) for follower in some]
            await self._until(lambda some=some: all(f.account.position for f in some))  # type: ignore[misc]  # bound at once
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def caught_up(self, heads: Mapping[str, int]) -> float:
        """Wait until all are at the heads of their topics; return the seconds that this took."""
        began = time.monotonic()
        await self._until(
            lambda: all(
                follower.account.cursor >= heads[topic]
                for follower, topic in zip(self.followers, self.topic_of, strict=True)
            )
        )
        return time.monotonic() - began

    async def resumed_beyond(self, before: Sequence[int]) -> float:
        """Wait until each has resumed more often than before; return the seconds that this took."""
        began = time.monotonic()
        await self._until(
            lambda: all(
                follower.account.resumed > count
                for follower, count in zip(self.followers, before, strict=True)
            )
        )
        return time.monotonic() - began

    def figures(self, logs: Mapping[str, Mapping[int, int]]) -> list[Figure]:
        """Return what was received and what is wrong with it, given the log of each topic.

        A log is the number in each message by the message's sequence number.
        """
        accounts = [follower.account for follower in self.followers]
        incomplete = contradicted = 0
        for account, topic in zip(accounts, self.topic_of, strict=True):
            head = max(logs[topic], default=0)
            incomplete += account.cursor != head or account.received != head - account.start
        for topic, ledger in self.ledgers.items():
            # Together, the consumers of a topic must have received what the log has.
            first = min(
                account.start
                for account, of in zip(accounts, self.topic_of, strict=True)
                if of == topic
            )
            expected = {key: number for key, number in logs[topic].items() if key > first}
            contradicted += ledger.contradictions + (ledger.numbers != expected)
        sums = {
            "messages received": sum(account.received for account in accounts),
            "resumed": sum(account.resumed for account in accounts),
            "refused": sum(follower.refused for follower in self.followers),
        }
        wrong = {
            "consumers that have not all messages once": incomplete,
            "contradictions to the log": contradicted,
            "messages lost": sum(account.lost for account in accounts),
            "messages twice": sum(account.doubled for account in accounts),
            "messages that the service said were missed": sum(a.missed for a in accounts),
            "gap or reset instead of resumed": sum(a.gaps + a.resets for a in accounts),
        }
        return [
            *(Figure(name, "", [count]) for name, count in sums.items()),
            *(Figure(name, "", [count], NOTHING) for name, count in wrong.items()),
        ]

    async def read_logs(self) -> dict[str, dict[int, int]]:
        """Return the log of each topic: the number in each message by its sequence number."""
        logs = await asyncio.gather(*map(self._read_log, self.ledgers))
        return dict(zip(self.ledgers, logs, strict=True))

    async def _read_log(self, topic: str) -> dict[int, int]:
        numbers: dict[int, int] = {}
        ids = self.ids[topic] = {}
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def take(record: dict[str, object]) -> None:
            data = record.get("data")
            if isinstance(data, list):
                ids[str(record["id"])] = data[1]
                numbers[int(str(record["id"]).rpartition("-")[2])] = data[1]
            if record.get("event") == "end":
                over.set_result(None)

        replay = await connect(
            self._places[0], wire.Asked("ndjson", topic, "earliest&until=latest"), take
        )
        # The service would leave the connection open for other requests.
        await asyncio.wait([replay.gone, over], return_when=asyncio.FIRST_COMPLETED)
        replay.transport.abort()
        return numbers

    async def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            if time.monotonic() > deadline:
                behind = sum(not follower.account.position for follower in self.followers)
                raise RuntimeError(f"not all consumers caught up; {behind} got no record at all")
            await asyncio.sleep(POLL_S)
