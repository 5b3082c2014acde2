"""The cost of each middleware to a stream: messages per second through one endpoint of an app.

All contenders run at the same time, each in a process of its own on the same core, but only one has
a client at any time. Each round measures all of them.
"""

from __future__ import annotations

import contextlib
import socket
import time

from benchmarks import machine
from benchmarks.figures import RATIO, Figure, Result, ratios
from benchmarks.service import HOST, Server, running
from benchmarks.streaming_app import CONTENDERS, EVENT

BARE = "bare"
READ_BYTES = 1 << 20
TIMEOUT_S = 60.0
REQUEST = f"GET /stream HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()


def run(*, quick: bool) -> Result:
    """Measure all that are installed."""
    messages, rounds = (500, 1) if quick else (20_000, 9)
    rates: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(
                running(["-m", "benchmarks.streaming_app", name, str(messages)], {})
            )
            for name in CONTENDERS
        }
        stack.enter_context(machine.pinned_to(machine.client_cores()))
        for server in servers.values():
            # The first request of a process is slower, and does not count.
            measure(server, messages)
        for _ in range(rounds):
            for name, server in servers.items():
                rates[name].append(measure(server, messages))
    figures = [
        Figure(f"{name} ÷ {BARE}", RATIO, ratios(rates[name], rates[BARE]))
        for name in CONTENDERS
        if name != BARE
    ]
    figures += [Figure(name, "messages/s", rates[name]) for name in CONTENDERS]
    return Result(figures, {"messages": messages, "rounds": rounds, "event_bytes": len(EVENT)})


def measure(server: Server, message_count: int) -> float:
    """Stream once and return the messages per second.

    Raises:
        RuntimeError: not all messages came.

    """
    with socket.create_connection((HOST, server.port), TIMEOUT_S) as connection:
        started = time.perf_counter()
        connection.sendall(REQUEST)
        body = bytearray()
        while piece := connection.recv(READ_BYTES):
            body += piece
        elapsed = time.perf_counter() - started
    came = body.count(EVENT)
    if came != message_count:
        raise RuntimeError(f"{came} messages came, and not {message_count}: {body[:200]!r}")
    return message_count / elapsed
