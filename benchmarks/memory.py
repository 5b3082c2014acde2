"""The memory that telemetry takes for each open connection.

Allocations are traced while a lifecycle records many connections with one stream each. The ids are
made before that, because an application keeps them in any case.
"""

from __future__ import annotations

import gc
import secrets
import tracemalloc

from benchmarks.figures import Bar, Figure, Result
from riptide_telemetry import CloseReason, StreamingMetrics, StreamLifecycleManager, StreamProtocol

QUICK_CONNECTIONS = 1_000
CONNECTIONS = 10_000
REPETITIONS = 3


def run(*, quick: bool) -> Result:
    """Trace a few rounds of opening and closing all connections."""
    count = QUICK_CONNECTIONS if quick else CONNECTIONS
    opened, closed = zip(*(_trace(count) for _ in range(REPETITIONS)), strict=True)
    return Result(
        [
            Figure("telemetry of an open connection", "bytes", opened, Bar(200)),
            Figure("left of it once it is closed", "bytes", closed),
        ],
        {"connections": count, "repetitions": REPETITIONS},
    )


def _trace(connection_count: int) -> tuple[float, float]:
    """Return the bytes per connection while all are open, and after all have closed."""
    ids = [secrets.token_hex(8) for _ in range(connection_count)]
    requests = [f"{connection_id}-1" for connection_id in ids]
    lifecycle = StreamLifecycleManager(StreamingMetrics())
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for connection_id, request_id in zip(ids, requests, strict=True):
            lifecycle.connection_established(connection_id, StreamProtocol.SSE)
            lifecycle.stream_started(connection_id, request_id, None)
        gc.collect()
        opened = tracemalloc.get_traced_memory()[0] - before
        for connection_id in ids:
            lifecycle.connection_closed(connection_id, CloseReason.CLIENT_CLOSED)
        gc.collect()
        closed = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    return opened / connection_count, closed / connection_count
