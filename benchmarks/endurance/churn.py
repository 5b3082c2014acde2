"""Consumers connect, read and disconnect in every possible way, for a long time.

At the end the service must hold no more than at the beginning (memory, places, tasks, descriptors),
and no consumer may have missed a message without being told.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.endurance import holdings, wire
from benchmarks.endurance.account import Account, Ledger
from benchmarks.endurance.consumer import Connection, connect
from benchmarks.endurance.publishing import Publisher
from benchmarks.figures import Bar, Figure, Result
from benchmarks.service import HOST, environment_of, running
from riptide.process.allocator import INTERVAL_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.service import Server

TOPICS = tuple(f"{kind}.{number}" for kind in ("keep", "skip", "newest") for number in range(4))
POLICIES = "skip.*=drop_oldest,newest.*=latest,*=disconnect"
ADDRESSES = 500
LEDGER_ROOM = 20_000
# Messages in a batch, seconds between batches, and bytes of padding in a message: a trickle to each
# topic in turn, and to one topic of each policy bursts of more than a socket takes at once.
TRICKLE = (5, 0.02, 400)
BURST = (100, 0.6, 16_000)
BURSTING = TOPICS[::4]
SMALL_BUFFER = 16 * 1024
MEBIBYTE = 1024 * 1024
SAMPLE_INTERVAL_S = 10.0
# The allocator and caches may grow this much; more is a leak.
MEMORY_BAR = Bar(1.05)
NOTHING = Bar(0)


class Plan(NamedTuple):
    """How many clients there are at a time, and for how long."""

    clients: int = 200
    seconds: float = 1800.0
    # Comes first, until the size of the heap is steady.
    warm_up_s: float = 300.0
    # The warm-up goes on until consumers have received this many messages.
    warm_up_messages: int = 0
    # Follows the warm-up and the churn, and lets the service give freed memory back to the system.
    rest_s: float = 2 * INTERVAL_S


class Visitors:
    """The clients, each a task, and what all of them have received."""

    def __init__(self, server: Server, seed: int) -> None:
        self.visits = self.refused = 0
        self.accounts: list[Account] = []
        self._server = server
        self._seed = seed
        self._ledgers = {topic: Ledger(room=LEDGER_ROOM) for topic in TOPICS}

    async def run(self, clients: int, seconds: float, messages: int = 0) -> None:
        """Let clients come and go for some seconds, and until they have so many messages."""
        until = time.monotonic() + seconds

        def over() -> bool:
            return time.monotonic() >= until and self.total("received") >= messages

        # Each round takes another course.
        self._seed += 1
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                chance = random.Random(self._seed * 100_003 + number)  # noqa: S311  # to be repeatable
                group.create_task(self._come_and_go(chance, over))

    def total(self, attribute: str) -> int:
        """Return the sum of an attribute over all accounts."""
        return sum(getattr(account, attribute) for account in self.accounts)

    def slow_ends(self) -> int:
        """Return how often a consumer was disconnected for being slow, and told so."""
        return sum(account.ends.get("slow_consumer", 0) for account in self.accounts)

    def problems(self) -> dict[str, int]:
        """Return how many of the consumers' messages are wrong, by what is wrong."""
        return {
            "lost": self.total("lost"),
            "doubled": self.total("doubled"),
            "contradicted": sum(ledger.contradictions for ledger in self._ledgers.values()),
        }

    async def _come_and_go(self, chance: random.Random, over: Callable[[], bool]) -> None:
        accounts: dict[str, Account] = {}
        while not over():
            address = f"198.51.{chance.randrange(2)}.{chance.randrange(ADDRESSES // 2)}"
            topic = chance.choice(TOPICS)
            self.visits += 1
            kind = chance.random()
            with contextlib.suppress(OSError):
                if kind < 0.05:  # noqa: PLR2004  # shares of the kinds of visits
                    await self._bother(chance, topic)
                    continue
                if kind < 0.15 or topic not in accounts:  # noqa: PLR2004  # as above
                    # A new consumer, which does not resume; no more is added to the old account.
                    account = Account(self._ledgers[topic])
                    accounts[topic] = account
                    self.accounts.append(account)
                await self._visit(chance, topic, accounts[topic], address)

    async def _visit(
        self, chance: random.Random, topic: str, account: Account, address: str
    ) -> None:
        transport = chance.choice(wire.TRANSPORTS)
        asked = wire.Asked(transport, topic, account.position, address)
        stalls = chance.random() < 0.15  # noqa: PLR2004  # a share that stops reading for a while
        connection = await connect(
            self._server.port, asked, account.take, SMALL_BUFFER if stalls else None
        )
        if chance.random() < 0.05:  # noqa: PLR2004  # a share that does not wait for an answer
            _leave(chance, transport, connection)
            await connection.gone
            return
        if not await connection.open:
            self.refused += 1
            connection.transport.abort()
            return
        if stalls:
            connection.transport.pause_reading()
            await asyncio.sleep(chance.uniform(0, 4))
            if not connection.transport.is_closing():
                connection.transport.resume_reading()
        await asyncio.wait([connection.gone], timeout=chance.uniform(0, 3))
        _leave(chance, transport, connection)
        # Data that is still under way may be read or not: the position is that of the last record.
        await connection.gone

    async def _bother(self, chance: random.Random, topic: str) -> None:
        """Send a request that is not valid, or break off in the middle of one."""
        reader, writer = await asyncio.open_connection(HOST, self._server.port)
        writer.write(
            chance.choice(
                [
                    b"GET /topics/%b?after=yesterday HTTP/1.1\r\nHost: localhost\r\n\r\n",
                    b"GET /topics/..%%2f%b HTTP/1.1\r\nHost: localhost\r\n\r\n",
                    b"GET /topics/%b HTTP/1.1\r\nHost: localhost\r\nAcc",
                    b"GET /topics/%b.never-published HTTP/1.1\r\nHost: localhost\r\n\r\n",
                    b"POST /topics/%b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\ncut",
                    b"\x16\x03\x01 %b is not HTTP\r\n\r\n",
                ]
            )
            % topic.encode()
        )
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reader.read(100), chance.uniform(0, 1))
        writer.transport.abort()


def _leave(chance: random.Random, transport: str, connection: Connection) -> None:
    way = chance.random()
    if way < 0.4:  # noqa: PLR2004  # shares of the ways to leave
        connection.reset()
    elif transport == "websocket" and way < 0.7 and connection.open.done():  # noqa: PLR2004  # as above
        connection.transport.write(wire.client_frame(wire.CLOSE, wire.GOODBYE))
        connection.transport.close()
    else:
        connection.transport.close()


def run(plan: Plan, progress: bool = False) -> Result:  # noqa: FBT001, FBT002  # a switch of the command line
    """Churn, and compare what the service holds at the end and after the warm-up."""
    with tempfile.TemporaryDirectory() as directory:
        return _run(directory, plan, progress=progress)


def _run(directory: str, plan: Plan, *, progress: bool) -> Result:
    environment = environment_of(
        log="sqlite",
        data_dir=directory,
        retention_messages=1_000,
        ring_messages=150,
        slow_consumer=POLICIES,
        max_lag_seconds=1,
        heartbeat_seconds=1,
        write_timeout_seconds=3,
        trusted_proxies="127.0.0.1",
    )
    with running(["-m", "benchmarks.endurance.counted_service"], environment) as server:
        return asyncio.run(_churn(server, plan, progress=progress))


async def _churn(server: Server, plan: Plan, *, progress: bool) -> Result:
    visitors = Visitors(server, seed=0)
    await _round(server, visitors, plan, plan.warm_up_s, plan.warm_up_messages)
    before = await holdings.take(server)
    samples: list[int] = []
    sampling = asyncio.create_task(_sample(server.pid, samples, visitors, progress=progress))
    visits = visitors.visits
    await _round(server, visitors, plan, plan.seconds)
    sampling.cancel()
    after = await holdings.take(server)
    figures = [
        Figure("visits", "", [visitors.visits - visits]),
        Figure("messages seen by consumers", "", [visitors.total("received")]),
        Figure("messages they were told to have missed", "", [visitors.total("missed")]),
        Figure("times they were too slow to stay", "", [visitors.slow_ends()]),
        Figure("refused", "", [visitors.refused], NOTHING),
        Figure("resident, at the beginning", "MB", [before.resident / MEBIBYTE]),
        Figure("resident, while it went on", "MB", [size / MEBIBYTE for size in samples] or [0]),
        Figure("resident, at the end", "MB", [after.resident / MEBIBYTE]),
        Figure("resident, end ÷ beginning", "", [after.resident / before.resident], MEMORY_BAR),
        Figure("used of it, end ÷ beginning", "", [after.used / before.used], MEMORY_BAR),
        Figure("used of it, at the end", "MB", [after.used / MEBIBYTE]),
        Figure("objects, end ÷ beginning", "", [after.objects / before.objects], MEMORY_BAR),
        Figure("tasks more than at the beginning", "", [after.tasks - before.tasks], NOTHING),
        Figure(
            "descriptors more than at the beginning",
            "",
            [after.descriptors - before.descriptors],
            NOTHING,
        ),
        Figure("places taken", "", [after.places], NOTHING),
        Figure("addresses with places", "", [after.addresses], NOTHING),
        Figure("topics in memory", "", [after.topics], NOTHING),
        Figure("messages queued", "", [after.queued], NOTHING),
        Figure("messages unaccounted", "", [after.unaccounted], NOTHING),
        Figure("bytes that streaming holds", "B", [after.memory_usage], NOTHING),
    ]
    for problem, count in visitors.problems().items():
        figures.append(Figure(f"messages {problem}", "", [count], NOTHING))
    return Result(figures, plan._asdict())


async def _round(
    server: Server, visitors: Visitors, plan: Plan, seconds: float, messages: int = 0
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for topics, (batch, interval_s, padding) in ((TOPICS, TRICKLE), (BURSTING, BURST)):
            publisher = Publisher(server.port, topics, "churn", padding)
            await stack.enter_async_context(publisher.publishing(batch, interval_s))
        await visitors.run(plan.clients, seconds, messages)
    await asyncio.sleep(plan.rest_s)


async def _sample(pid: int, samples: list[int], visitors: Visitors, *, progress: bool) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(SAMPLE_INTERVAL_S)
        samples.append(holdings.resident_bytes(pid))
        if progress and not len(samples) % 6:
            minutes = (time.monotonic() - began) / 60
            size = samples[-1] / MEBIBYTE
            print(f"{minutes:4.0f} min  {visitors.visits:7,} visits  {size:6.1f} MB", flush=True)  # noqa: T201  # for who waits
