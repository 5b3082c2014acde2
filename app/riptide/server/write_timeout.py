"""Cuts off clients that take nothing of what waits for them, where no stream looks after them.

What is left of an answer, or of a stream that is over, waits in the connection's buffer; uvicorn,
and a transport that is being closed, would wait with it for ever.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from riptide.streaming.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from riptide.streaming.connection import ClientConnection
    from riptide.streaming.streams import Streams

ROUNDS = 4
# Connections looked at before others get their turn.
SLICE = 500


async def enforce_write_timeout(
    connections: Callable[[], Iterable[ClientConnection]],
    streams: Streams,
    timeout_s: float,
    clock_ns: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Look at all connections a few times in each timeout, until cancelled.

    Those of open streams are left to the heartbeat, which ends the stream too.
    """
    patience = Patience(timeout_s)
    while True:
        await sleep(timeout_s / ROUNDS)
        patience.begin_round()
        looked_after = {session.connection for session in streams.sessions}
        for position, connection in enumerate(list(connections()), 1):
            # Where TLS is used, what waits for a connection to close is not all in the buffer.
            waits = connection.is_gone() or connection.buffered_bytes()
            if (
                waits
                and connection not in looked_after
                and patience.is_over(connection, clock_ns())
            ):
                connection.abort()
            if not position % SLICE:
                await asyncio.sleep(0)
