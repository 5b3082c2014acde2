"""Cuts off clients that take nothing from the write buffer, on connections without a stream.

The rest of an answer, or of a stream that has ended, waits in the connection's write buffer.
uvicorn, and a closing transport, would wait for the client for ever.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from riptide.streaming.patience import Patience
from riptide_telemetry import ServicePart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from riptide.process.faults import Faults
    from riptide.streaming.connection import ClientConnection
    from riptide.streaming.streams import Streams

# Rounds over all connections per timeout.
ROUNDS = 4
# Connections visited before other tasks get a turn of the event loop.
SLICE = 500


async def enforce_write_timeout(  # noqa: PLR0913  # two of them are for tests
    connections: Callable[[], Iterable[ClientConnection]],
    streams: Streams,
    timeout_s: float,
    faults: Faults,
    *,
    clock_ns: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Visit all connections a few times in each timeout, until cancelled.

    Connections of open streams are left to ``Heartbeat``, which ends the stream too.
    """
    patience = Patience(timeout_s)
    while True:
        await sleep(timeout_s / ROUNDS)
        patience.begin_round()
        streaming = {session.connection for session in streams.sessions}
        for position, connection in enumerate(list(connections()), 1):
            try:
                # With TLS, not all data of a closing connection is in the write buffer.
                waits = connection.is_gone() or connection.buffered_bytes()
                if (
                    waits
                    and connection not in streaming
                    and patience.is_over(connection, clock_ns())
                ):
                    connection.abort()
            except Exception as error:  # noqa: BLE001  # the other connections still have to be visited
                faults.report(ServicePart.WRITE_TIMEOUT, error)
            if not position % SLICE:
                await asyncio.sleep(0)
