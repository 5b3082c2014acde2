"""HTTP and WebSocket clients for tests: plain, and as patient as tests are.

An httpx2 client by itself loads the authorities of TLS, 50 ms each time, and gives up after 5 s;
a WebSocket of ``websockets`` gives up after 10 s and asks after the service every 20 s. Both would
use the proxies and certificates of whoever runs the tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any

import httpx2
from anyio.from_thread import BlockingPortal, start_blocking_portal
from websockets.asyncio import client as asynchronous
from websockets.sync import client as synchronous

from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from websockets.typing import Data

# A context that trusts nobody, since nobody here speaks TLS.
_HTTP: dict[str, Any] = {
    "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    "timeout": DEADLINE_S,
    "trust_env": False,
}
_WEBSOCKET: dict[str, Any] = {
    "open_timeout": DEADLINE_S,
    "close_timeout": DEADLINE_S,
    "ping_interval": None,
    "proxy": None,
}


def get(url: str, **keywords: Any) -> httpx2.Response:
    return request("GET", url, **keywords)


def post(url: str, **keywords: Any) -> httpx2.Response:
    return request("POST", url, **keywords)


def request(method: str, url: str, **keywords: Any) -> httpx2.Response:
    return httpx2.request(method, url, **_HTTP | keywords)


def stream(method: str, url: str, **keywords: Any) -> AbstractContextManager[httpx2.Response]:
    return httpx2.stream(method, url, **_HTTP | keywords)


def client(**keywords: Any) -> httpx2.Client:
    return httpx2.Client(**_HTTP | keywords)


def async_client(**keywords: Any) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(**_HTTP | keywords)


def connect(url: str, **keywords: Any) -> asynchronous.connect:
    """Open a WebSocket on the event loop."""
    return asynchronous.connect(url, **_WEBSOCKET | keywords)


def connect_blocking(url: str, **keywords: Any) -> synchronous.ClientConnection:
    """Open a WebSocket on this thread, without TLS: see :func:`connect_securely`."""
    assert url.startswith("ws:"), url
    connection: synchronous.ClientConnection = synchronous.connect(url, **_WEBSOCKET | keywords)
    return connection


class SecureWebSocket:
    """A WebSocket over TLS whose connection one thread reads and writes.

    The blocking client of ``websockets`` reads on a thread of its own. OpenSSL forbids two threads
    in one connection at a time, Python takes a lock for that only since 3.13, and with the session
    tickets of TLS 1.3 the answer to a handshake got lost now and then.
    """

    def __init__(self, portal: BlockingPortal, connection: asynchronous.ClientConnection) -> None:
        self._portal = portal
        self._connection = connection

    def recv(self) -> Data:
        """Return the next message.

        Raises:
            TimeoutError: None came within the deadline of tests.
        """
        return self._portal.call(self._next)

    async def _next(self) -> Data:
        return await asyncio.wait_for(self._connection.recv(), DEADLINE_S)


@contextlib.contextmanager
def connect_securely(url: str, trust: ssl.SSLContext, **keywords: Any) -> Iterator[SecureWebSocket]:
    """Open a WebSocket over TLS for code that blocks, and close it in the end."""
    # The loop has a thread to itself, since that of a browser occupies the test's.
    with start_blocking_portal() as portal:
        opening = portal.call(lambda: connect(url, ssl=trust, **keywords))
        with portal.wrap_async_context_manager(opening) as connection:
            yield SecureWebSocket(portal, connection)
