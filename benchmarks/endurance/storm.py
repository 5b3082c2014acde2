"""All consumers lose their connection at once, and reconnect at once, under load."""

from __future__ import annotations

import asyncio
import tempfile
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import machine
from benchmarks.endurance.following import Following
from benchmarks.endurance.publishing import Publisher
from benchmarks.figures import Bar, Figure, Result
from benchmarks.service import environment_of, running

if TYPE_CHECKING:
    from benchmarks.service import Server

TOPICS = ("storm.0", "storm.1")
BATCH, INTERVAL_S = 1, 0.05
TIME_BAR = Bar(15)
SPARE_FILES = 200


class Plan(NamedTuple):
    """How many consumers there are, how often they are cut off, and how long they read between."""

    consumers: int = 5_000
    storms: int = 3
    calm_s: float = 2.0


def run(plan: Plan) -> Result:
    """Cut all consumers off, and check that each has every message once in the end."""
    consumers = min(plan.consumers, machine.open_files_limit() - SPARE_FILES)
    plan = plan._replace(consumers=consumers)
    # A log on disk has the messages that leave the ring meanwhile.
    with (
        tempfile.TemporaryDirectory() as directory,
        running(
            ["-m", "riptide.cli", "serve"],
            environment_of(log="sqlite", data_dir=directory, max_connections=consumers + 10),
        ) as server,
        machine.pinned_to(machine.client_cores()),
    ):
        return asyncio.run(_storm(server, plan))


async def _storm(server: Server, plan: Plan) -> Result:
    publisher = Publisher(server.port, TOPICS, "storm")
    seconds = []
    async with Following([server.port], plan.consumers, TOPICS) as following:
        async with publisher.publishing(BATCH, INTERVAL_S):
            for _ in range(plan.storms):
                await asyncio.sleep(plan.calm_s)
                for follower in following.followers:
                    if follower.connection is not None:
                        follower.connection.reset()
                resumed = [follower.account.resumed for follower in following.followers]
                seconds.append(await following.resumed_beyond(resumed))
        logs = await following.read_logs()
        await following.caught_up({topic: max(log, default=0) for topic, log in logs.items()})
        figures = following.figures(logs)
    return Result(
        [
            Figure("until all had resumed", "s", seconds, TIME_BAR),
            *figures,
        ],
        plan._asdict(),
    )
