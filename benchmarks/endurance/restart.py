"""The service is restarted under load: its consumers reconnect, and get every message once."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from typing import NamedTuple

from benchmarks import machine
from benchmarks.endurance.following import Following
from benchmarks.endurance.publishing import Publisher
from benchmarks.figures import Bar, Figure, Result
from benchmarks.service import Server, environment_of, running

TOPICS = ("restart.0", "restart.1", "restart.2")
BATCH, INTERVAL_S = 2, 0.02
COMMAND = ["-m", "riptide.cli", "serve"]


class Plan(NamedTuple):
    """How many consumers there are, how often the service is restarted, and how long it drains."""

    consumers: int = 1_000
    restarts: int = 3
    calm_s: float = 3.0
    drain_s: float = 3.0


def run(plan: Plan) -> Result:
    """Restart, and compare what the consumers received with the log."""
    with tempfile.TemporaryDirectory() as directory, machine.pinned_to(machine.client_cores()):
        return asyncio.run(_restart(directory, plan))


async def _restart(directory: str, plan: Plan) -> Result:
    def environment(port: int) -> dict[str, str]:
        return environment_of(
            port=port,
            log="sqlite",
            data_dir=directory,
            drain_seconds=plan.drain_s,
            retry_seconds=0.5,
            heartbeat_seconds=1,
        )

    service = contextlib.ExitStack()

    async def start(port: int) -> Server:
        return await asyncio.to_thread(service.enter_context, running(COMMAND, environment(port)))

    seconds = []
    try:
        port = (await start(0)).port
        publisher = Publisher(port, TOPICS, "restart")
        async with Following([port], plan.consumers, TOPICS) as following:
            async with publisher.publishing(BATCH, INTERVAL_S):
                for _ in range(plan.restarts):
                    await asyncio.sleep(plan.calm_s)
                    resumed = [follower.account.resumed for follower in following.followers]
                    await asyncio.to_thread(service.close)
                    await start(port)
                    seconds.append(await following.resumed_beyond(resumed))
                await asyncio.sleep(plan.calm_s)
            logs = await following.read_logs()
            await following.caught_up({topic: max(log, default=0) for topic, log in logs.items()})
            figures = following.figures(logs)
    finally:
        await asyncio.to_thread(service.close)
    kept = {(topic, number) for topic, log in logs.items() for number in log.values()}
    lost = len(set(publisher.acknowledged) - kept)
    return Result(
        [
            Figure("from its start until all had resumed", "s", seconds),
            Figure("messages acknowledged", "", [len(publisher.acknowledged)]),
            Figure("messages acknowledged and not in the log", "", [lost], Bar(0)),
            *figures,
        ],
        plan._asdict(),
    )
