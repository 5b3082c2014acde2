"""What clients can make a real service write into its log has a limit."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed

from riptide.process.log_record_limit import RECORDS
from tests import plain
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.service import Service

CLIENTS = RECORDS + 10


async def _break_the_rules(service: Service, topic: str) -> None:
    async with plain.connect(service.topic(topic).replace("http", "ws", 1)) as client:
        await client.send(b"binary")
        with contextlib.suppress(ConnectionClosed):
            while True:
                await client.recv()


def _speak_nonsense(service: Service) -> None:
    address = urlsplit(service.url)
    with socket.create_connection(
        (address.hostname or "", address.port or 0), DEADLINE_S
    ) as client:
        client.sendall(b"this is not HTTP\r\n\r\n")
        # The answer; the server lingers a while after it.
        assert client.recv(1000)


async def test_a_flood_of_clients_that_break_the_rules_is_told_of_in_a_few_lines(
    start_service: StartService, topic: str
) -> None:
    service = await asyncio.to_thread(lambda: start_service(log_format="json"))
    # Side by side, so that it all happens within the minute that the limit is for.
    await asyncio.gather(
        *(_break_the_rules(service, topic) for _ in range(CLIENTS)),
        *(asyncio.to_thread(_speak_nonsense, service) for _ in range(CLIENTS)),
    )
    await asyncio.to_thread(
        service.wait_for_metric,
        CLIENTS,
        "riptide_streaming_connections_closed_total",
        reason="unsupported_frame",
    )
    assert await asyncio.to_thread(service.stop) == 0
    lines = [json.loads(line) for line in service.log.splitlines()]
    closed = [line for line in lines if line.get("event") == "connection_closed"]
    assert len(closed) == RECORDS
    assert not any("HTTP" in line["message"] for line in lines)
    assert {line["stream.reason"] for line in closed} == {"unsupported_frame"}
