"""Clients of the drill, most of which misbehave, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import time
from typing import TYPE_CHECKING, Final, Self

import httpx2
import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from operations.drill.processes import Service

_READ_BYTES: Final = 256 * 1024
# As on the internet. On loopback a segment has 64 KiB, and the kernel buffers megabytes.
_SEGMENT_BYTES: Final = 1400
_RECEIVE_BUFFER_BYTES: Final = 32 * 1024


class Consumer:
    """An NDJSON stream on a socket, read at a given speed."""

    def __init__(self, service: Service, topic: str, query: str = "") -> None:
        self._address = ("127.0.0.1", service.port)
        self._request = (
            f"GET /topics/{topic}{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            "Accept: application/x-ndjson\r\n\r\n"
        ).encode()
        self._socket = socket.socket()
        self._socket.setblocking(False)

    async def open(self, *, small_buffers: bool = False) -> Self:
        """Connect, and read the first record; small buffers make a slow reader show soon."""
        if small_buffers:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT_BYTES)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, self._address)
        await loop.sock_sendall(self._socket, self._request)
        await loop.sock_recv(self._socket, _READ_BYTES)
        return self

    async def read(self, bytes_per_second: float = float("inf")) -> None:
        """Read until the stream ends, at most so many bytes per second."""
        loop = asyncio.get_running_loop()
        begun, taken = time.monotonic(), 0
        size = min(_READ_BYTES, max(1, int(min(bytes_per_second, _READ_BYTES * 10) / 10)))
        with contextlib.suppress(OSError):
            while data := await loop.sock_recv(self._socket, size):
                taken += len(data)
                await asyncio.sleep(max(0.0, begun + taken / bytes_per_second - time.monotonic()))

    async def receive(self, size: int) -> bytes:
        """Return up to so many bytes as they come; none once the stream has ended."""
        return await asyncio.get_running_loop().sock_recv(self._socket, size)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class Publisher:
    """Publishes messages of one size at a steady rate."""

    def __init__(self, service: Service, topic: str, *, size_bytes: int, per_second: float) -> None:
        self._url = service.topic(topic)
        self._message = orjson.dumps("x" * size_bytes)
        self._per_second = per_second
        self.last_id = ""

    async def run(self) -> None:
        """Publish until cancelled, in at most ten batches a second."""
        pause = max(0.1, 1 / self._per_second)
        per_batch = max(1, round(self._per_second * pause))
        async with httpx2.AsyncClient(timeout=30, trust_env=False) as client:
            for due in itertools.count(time.monotonic(), pause):
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                self.last_id = await publish(client, self._url, [self._message] * per_batch)


async def publish(client: httpx2.AsyncClient, url: str, messages: Sequence[bytes]) -> str:
    """Publish a batch and return the id of its last message."""
    answer = await client.post(
        url,
        content=b"\n".join(messages),
        headers={"Content-Type": "application/x-ndjson"},
    )
    last: str = answer.raise_for_status().json()["ids"]["last"]
    return last


async def visit(service: Service, topic: str, *, break_the_protocol: bool) -> None:
    """Open a WebSocket and close it, or send a binary frame, for which the service closes it."""
    url = service.topic(topic).replace("http", "ws", 1)
    async with connect(url, close_timeout=2, proxy=None) as websocket:
        await websocket.recv()
        if break_the_protocol:
            await websocket.send(b"binary")
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await websocket.recv()
