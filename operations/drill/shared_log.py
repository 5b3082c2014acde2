"""What happens to a log that instances share: to its servers, the network, and among instances."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from typing import TYPE_CHECKING, Final

import httpx2

from operations.drill.clients import Consumer, publish
from operations.drill.disturbed_service import restart_to_disturb
from operations.drill.nats import STREAM
from operations.drill.processes import DrillError, Service

if TYPE_CHECKING:
    from operations.drill.nats import NatsServer, Network
    from operations.drill.scenario import Act, Stage

TOPIC: Final = "drill"
CLOCK_STEP_S: Final = 5
DELAY_S: Final = 0.1
"""On the way to the server, and back."""
_OTHERS: Final = 2
# Much more often than the one that is far away can answer, and no load to speak of.
_PUBLISHERS: Final = 2
_PAUSE_S: Final = 0.05
_MESSAGES: Final = 20


def lose_the_server(server: NatsServer) -> Act:
    """Return the cause that the server is killed, and nobody starts it again."""

    async def act(_stage: Stage) -> None:
        server.kill()
        try:
            await asyncio.Event().wait()
        finally:
            await server.start_again()

    return act


def put_an_older_store_back(server: NatsServer) -> Act:
    """Return the cause that an operator restores a copy that is older than what was acknowledged.

    Raises:
        DrillError: the service does not take messages afterwards.

    """

    async def act(stage: Stage) -> None:
        url = stage.service.topic(TOPIC)
        async with httpx2.AsyncClient(timeout=60, trust_env=False) as client:
            await publish(client, url, [b"1"] * _MESSAGES)
            await server.stop()
            copy = server.store.with_name("copy")
            shutil.copytree(server.store, copy)
            await server.start_again()
            for _ in range(_MESSAGES):
                await publish(client, url, [b"2"])
            await server.stop()
            shutil.rmtree(server.store)
            copy.rename(server.store)
            await server.start_again()
            try:
                await asyncio.Event().wait()
            finally:
                await publish(client, url, [b"3"])

    return act


def forbid_reading(server: NatsServer) -> Act:
    """Return the cause that an operator takes a permission from the user that Riptide needs."""

    async def act(stage: Stage) -> None:
        consumer = await Consumer(stage.service, TOPIC).open()
        try:
            server.forbid(f"$JS.API.DIRECT.GET.{STREAM}", f"$JS.API.DIRECT.GET.{STREAM}.>")
            await consumer.read()
            raise DrillError("the stream of the consumer ended")
        finally:
            server.forbid()
            consumer.close()

    return act


def be_left_behind(server: NatsServer, network: Network) -> Act:
    """Return the cause that others write to the topics of an instance, and are nearer."""

    async def act(stage: Stage) -> None:
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(setattr, network, "delay_s", 0.0)
            network.delay_s = DELAY_S
            services = [stage.service]
            for number in range(_OTHERS):
                name = f"{stage.service.job}-{number}"
                directory = stage.service.directory / name
                password = stage.service.directory / "password"
                other = Service(
                    stage.service.job,
                    directory,
                    stage.monitoring.target_file(name),
                    {**server.settings, "jetstream_password_file": password},
                )
                other.directory.mkdir(parents=True)
                await other.start()
                stack.push_async_callback(other.stop)
                other.be_scraped()
                stack.callback(other.not_be_scraped)
                services.append(other)
            await asyncio.gather(
                *(_publish_on_and_on(each) for each in services for _ in range(_PUBLISHERS))
            )

    return act


async def _publish_on_and_on(service: Service) -> None:
    async with httpx2.AsyncClient(timeout=60, trust_env=False) as client:
        while True:
            # One that is left behind for too long refuses.
            await client.post(service.topic(TOPIC), json=1)
            await asyncio.sleep(_PAUSE_S)


async def set_the_clock_wrong(stage: Stage) -> None:
    """Restart the service, and step its clock by some seconds; at the end, set it right.

    Raises:
        DrillError: there is no C compiler.

    """
    clock = await restart_to_disturb(stage.service, stage.service.directory)
    clock.step_clock(CLOCK_STEP_S)
    try:
        await asyncio.Event().wait()
    finally:
        clock.step_clock(0)


def move_far_away(network: Network) -> Act:
    """Return the cause that each way between the service and the server takes long."""

    async def act(_stage: Stage) -> None:
        network.delay_s = DELAY_S
        try:
            await asyncio.Event().wait()
        finally:
            network.delay_s = 0.0

    return act
